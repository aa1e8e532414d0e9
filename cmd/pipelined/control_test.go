package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/rtflow/pipelined/core/control"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/core/plan"
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
	p, err := loadPlan(t.Context(), io.Discard, planOptions{path: c.path, daemon: true}, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if c.Pipeline, err = pipeline.Open(ctx, p.Plan, pipeline.Options{Changes: serviceKeys}); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	reloads := newReloader(c.path, io.Discard, p.host, log)
	reloads.endpoints = newEndpoints(c.Pipeline, c.path, reloads, log)
	answering, err := reloads.endpoints.prepare(&p.File.Service, "edge-1")
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
	c.configure(t, "[sinks.events]", "[sinks.own]\nplugin = \"exec\"\ncommand = \"/bin/false\"\n[sinks.events]", `["events"]`, `["events", "own"]`)
	out, err = reload()
	if err != nil || !strings.Contains(out, "level=WARN msg=\"a plugin does not start; its records wait in the ring\" err=") || strings.Contains(out, "time=") ||
		!strings.HasSuffix(out, "configuration 3 runs now\n") {
		t.Errorf("with a warning: %q, %v", out, err)
	}
	c.configure(t, "262144", "2048")
	var o control.Outcome
	out, err = reload("--json")
	if jsonErr := json.Unmarshal([]byte(out), &o); err == nil || jsonErr != nil || o.Taken || o.Number != 3 || !strings.Contains(o.Error, "restart") {
		t.Errorf("with a change that needs a restart: %q, %v, %v", out, err, jsonErr)
	}
}

// TestOutcomeWithGaps says how long sources were not read, also where a reload is refused.
func TestOutcomeWithGaps(t *testing.T) {
	gaps := []control.Gap{{Source: "lan", Seconds: 0.00314}, {Source: "wan", Seconds: 2}}
	const told = "source lan was not read for 3.1 ms\nsource wan was not read for 2000.0 ms\n"
	for want, o := range map[string]control.Outcome{
		"changed sources.lan.ring\n" + told + "configuration 2 runs now\n": {Taken: true, Changed: true, Number: 2, Changes: []string{"changed sources.lan.ring"}, Gaps: gaps},
		told: {Number: 1, Error: "broken", Gaps: gaps},
	} {
		var out strings.Builder
		if err := writeOutcome(&out, o); err != nil || out.String() != want {
			t.Errorf("%q, %v, want %q", out.String(), err, want)
		}
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

// TestFindDaemon finds the daemon at a usual place, or where its configuration says, only if it runs the configuration that is meant.
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
	other := writeFile(t, "other.toml", fmt.Sprintf("[service]\nmetrics = \"\"\ncontrol = %q\n", c.socket))
	if _, _, err := invoke(t, "reload", "--config", other); err == nil || !strings.Contains(err.Error(), "runs "+c.path+", not "+other) {
		t.Errorf("of another configuration that names its socket: %v", err)
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

// TestFindDaemonWithMistakes asks the daemon although its file has become one that cannot be used: where the file still names the socket,
// and at a usual place. It learns of the reload that it refuses.
func TestFindDaemonWithMistakes(t *testing.T) {
	for _, x := range []struct {
		name             string
		named            bool   // the file still names the socket
		mistake, instead string // "": the file is gone
	}{
		{"a misspelt source", true, `sources = [`, `sources = ["nosuch", `},
		{"a misspelt source, socket at a usual place", false, `sources = [`, `sources = ["nosuch", `},
		{"no TOML", true, "[pipeline]", "[pipeline"},
		{"no TOML, socket at a usual place", false, "[pipeline]", "[pipeline"},
		{"gone", false, "", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := controlPipeline(t)
			t.Setenv("RUNTIME_DIRECTORY", filepath.Dir(c.socket)) // where it is called control
			if x.named {
				t.Setenv("RUNTIME_DIRECTORY", t.TempDir())
			}
			text, err := os.ReadFile(c.path)
			if err != nil {
				t.Fatal(err)
			}
			if !x.named {
				text = bytes.Replace(text, []byte("control ="), []byte("# control ="), 1)
			}
			if x.mistake == "" {
				err = os.Remove(c.path)
			} else {
				broken := bytes.Replace(text, []byte(x.mistake), []byte(x.instead), 1)
				if bytes.Equal(broken, text) {
					t.Fatal("the mistake is not made")
				}
				err = os.WriteFile(c.path, broken, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, errs, err := invoke(t, "reload", "--config", c.path)
			if err == nil || !strings.HasPrefix(err.Error(), "refused, configuration 1 goes on: ") || !strings.Contains(errs, "has mistakes, which pipelined check shows: asking at "+c.socket) {
				t.Errorf("reload: %v\n%s", err, errs)
			}
			if n := c.Configuration(); n.Refusals != 1 {
				t.Errorf("the daemon knows of %d refused reloads", n.Refusals)
			}
			if out, _, _ := invoke(t, "status", "--config", c.path); !strings.Contains(out, c.socket+": ") {
				t.Errorf("status:\n%s", out)
			}
			if _, errs, err := invoke(t, "reload", "--config", writeFile(t, "p.toml", "[pipelin]\n")); err == nil ||
				!strings.Contains(err.Error(), "no pipelined was found that runs it: mend it, or give --control: ") || !strings.Contains(errs, "p.toml:1:") {
				t.Errorf("another file with a mistake: %v\n%s", err, errs)
			}
		})
	}
}

// TestFindDaemonBehindOneThatHangs has a daemon at a usual place that does not answer: the next place is asked, and the first one told.
func TestFindDaemonBehindOneThatHangs(t *testing.T) {
	c := controlPipeline(t)
	hangs, answers := t.TempDir(), t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", hangs)
	t.Setenv("XDG_RUNTIME_DIR", answers)
	l, err := net.Listen("unix", filepath.Join(hangs, "control")) // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := errors.Join(os.Mkdir(filepath.Join(answers, "pipelined"), 0o700), os.Symlink(c.socket, filepath.Join(answers, "pipelined", "control"))); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path, bytes.Replace(text, []byte("control ="), []byte("# control ="), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, _ := invoke(t, "status", "--config", c.path)
	if !strings.Contains(out, filepath.Join(answers, "pipelined", "control")+": ") || !strings.Contains(errs, l.Addr().String()+": the pipelined there does not answer within 3s") {
		t.Errorf("got\n%s\n%s", out, errs)
	}
}
