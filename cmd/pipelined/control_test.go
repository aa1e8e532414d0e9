package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/rtflow/pipelined/core/control"
	"github.com/rtflow/pipelined/core/pipeline"
)

// controlled is a pipeline with a control socket, which the configuration at path names.
type controlled struct {
	*pipeline.Pipeline

	path, socket string
	ran          bool
	reloads      *reloader
}

// run carries the capture through the pipeline.
func (c *controlled) run(t *testing.T) {
	t.Helper()
	c.ran = true
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// configure writes the configuration: the shipped one, with replacements.
func (c *controlled) configure(t *testing.T, replace ...string) {
	t.Helper()
	text, err := os.ReadFile("pipeline.toml")
	if err != nil {
		t.Fatal(err)
	}
	file := strings.NewReplacer(append(replace, `"127.0.0.1:9464"`, `""`, `"bin/events.log"`, `"`+filepath.Dir(c.path)+`/events.log"`)...).Replace(string(text))
	file = strings.Replace(file, "[service]\n", "[service]\ncontrol = \""+c.socket+"\"\n", 1)
	if err := os.WriteFile(c.path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
}

// controlPipeline opens the shipped pipeline, and serves its control socket until the test ends.
func controlPipeline(t *testing.T) *controlled {
	t.Helper()
	dir := t.TempDir()
	c := &controlled{path: filepath.Join(dir, "p.toml"), socket: filepath.Join(dir, "control")}
	c.configure(t)
	p, err := plan(t.Context(), io.Discard, planOptions{path: c.path, daemon: true}, pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if c.Pipeline, err = p.Open(ctx); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	reloads := newReloader(c.path, io.Discard, p.host, log)
	reloads.endpoints = newEndpoints(c.Pipeline, c.path, reloads, log)
	answering, err := reloads.endpoints.prepare(&p.file.Service, "edge-1")
	if err != nil {
		t.Fatal(err)
	}
	answering.take()
	var wg sync.WaitGroup
	c.reloads = reloads
	wg.Go(func() { reloads.run(ctx, c.Pipeline) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		reloads.watcher.running.Wait()
		if _, err := reloads.ask(t.Context()); err != errStopping {
			t.Errorf("a reload after the end: %v", err)
		}
		reloads.endpoints.close()
		if !c.ran {
			_ = c.Run(ctx) // closes what Open has opened
		}
		if err := p.host.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestStatusAtSocket asks at the control socket, found by the configuration and named.
func TestStatusAtSocket(t *testing.T) {
	c := controlPipeline(t)
	for _, args := range [][]string{{"--config", c.path}, {"--control", c.socket}} {
		out := mustRun(t, append([]string{"status"}, args...)...)
		if !strings.Contains(out, "pipelined at "+c.socket+": healthy") {
			t.Errorf("%v printed\n%s", args, out)
		}
	}
	var st pipeline.Status
	if err := json.Unmarshal([]byte(mustRun(t, "status", "--json", "--config", c.path)), &st); err != nil || st.Epoch == 0 {
		t.Errorf("--json: %v", err)
	}
	_, _, err := invoke(t, "status", "--control", c.socket+"x")
	if err == nil || !strings.Contains(err.Error(), "no such socket") {
		t.Errorf("another socket: %v", err)
	}
}

// TestReloadCommand has the configuration read again: as it was, with a change, with a mistake, and with a change that needs a restart.
func TestReloadCommand(t *testing.T) {
	c := controlPipeline(t)
	reload := func(args ...string) (string, error) {
		t.Helper()
		out, _, err := invoke(t, append([]string{"reload", "--control", c.socket}, args...)...)
		return out, err
	}
	if out, err := reload(); err != nil || out != "nothing has changed: configuration 1 goes on\n" {
		t.Errorf("without a change: %q, %v", out, err)
	}
	c.configure(t, `"30m"`, `"2h"`)
	if out, err := reload(); err != nil || out != "changed sessions.tcp_timeout\nconfiguration 2 runs now\n" {
		t.Errorf("with a change: %q, %v", out, err)
	}
	c.configure(t, "[pipeline]", "[pipelin]")
	out, err := reload()
	if err == nil || !regexp.MustCompile(`^refused, configuration 2 goes on: it has mistakes`).MatchString(err.Error()) ||
		!regexp.MustCompile(`p\.toml:\d+.*pipelin`).MatchString(out) {
		t.Errorf("with a mistake: %q, %v", out, err)
	}
	c.configure(t, "262144", "2048")
	var o control.Outcome
	out, err = reload("--json")
	if jsonErr := json.Unmarshal([]byte(out), &o); err == nil || jsonErr != nil || o.Taken || o.Number != 2 || !strings.Contains(o.Error, "restart") {
		t.Errorf("with a change that needs a restart: %q, %v, %v", out, err, jsonErr)
	}
}

// TestReloadsAtOnce asks for many reloads at once: each is answered.
func TestReloadsAtOnce(t *testing.T) {
	c := controlPipeline(t)
	client := control.NewClient(c.socket)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if o, err := client.Reload(t.Context()); err != nil || !o.Taken || o.Changed {
				t.Errorf("%+v, %v", o, err)
			}
		})
	}
	wg.Wait()
}

// TestFindDaemon finds the daemon at a usual place only if it runs the configuration that is meant.
func TestFindDaemon(t *testing.T) {
	c := controlPipeline(t)
	runtime := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	t.Setenv("RUNTIME_DIRECTORY", "")
	if err := os.Mkdir(filepath.Join(runtime, "pipelined"), 0o700); err != nil {
		t.Fatal(err)
	}
	usual := filepath.Join(runtime, "pipelined", "control")
	if err := os.Symlink(c.socket, usual); err != nil {
		t.Fatal(err)
	}
	unnamed := writeFile(t, "p.toml", "[service]\nmetrics = \"\"\n")
	if _, _, err := invoke(t, "reload", "--config", unnamed); err == nil || !strings.Contains(err.Error(), "runs "+c.path+", not "+unnamed+": give --control "+usual) {
		t.Errorf("of another configuration: %v", err)
	}
	text, err := os.ReadFile(c.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path, bytes.Replace(text, []byte("control ="), []byte("# control ="), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := mustRun(t, "status", "--config", c.path); !strings.Contains(out, "pipelined at "+usual+": healthy") {
		t.Errorf("of this configuration:\n%s", out)
	}
	if _, _, err := invoke(t, "reload", "--config", writeFile(t, "p.toml", "[service]\ncontrol = \"\"\n")); err == nil || !strings.Contains(err.Error(), "service.control is empty") {
		t.Errorf("without a socket: %v", err)
	}
}
