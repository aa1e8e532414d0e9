package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/control"
)

// tailing runs tail in the background until the test ends it. It returns when the daemon shows what it admits.
func tailing(t *testing.T, c *controlled, args ...string) (ended func() (stdout, stderr string, err error)) {
	t.Helper()
	root := newRoot()
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(append([]string{"tail", "--control", c.socket}, args...))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // what it waits for may not come
	before, _ := c.Tail().Watchers()
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(ctx) }()
	for n := before; n == before; n, _ = c.Tail().Watchers() {
		if len(done) > 0 {
			break
		}
		runtime.Gosched()
	}
	return func() (string, string, error) {
		defer cancel()
		err := <-done
		return out.String(), errs.String(), err
	}
}

// TestTail compares what tail prints with what read prints for the same capture.
func TestTail(t *testing.T) {
	want := make(map[string]int)
	denials := 0
	for line := range strings.Lines(mustRun(t, "read", "--format", "text", edge)) {
		want[line]++
		if strings.Contains(line, " deny ") || strings.Contains(line, " reject ") {
			denials++
		}
	}
	c := controlPipeline(t)
	all := tailing(t, c, "--format", "text", "-n", "200")
	denied := tailing(t, c, "--format", "text", "--only", "policy-deny", "-n", "20")
	telnet := tailing(t, c, "--format", "json", "--policy", "no-telnet", "--policy", "no-such", "--port", "23", "-n", "1")
	c.run(t)
	out, errs, err := all()
	if err != nil || strings.Count(out, "\n") != 200 {
		t.Errorf("%d lines, %v\n%s", strings.Count(out, "\n"), err, errs)
	}
	for line := range strings.Lines(out) {
		if want[line]--; want[line] < 0 {
			t.Errorf("read does not print, or not as often, %s", line)
		}
	}
	out, errs, err = denied()
	if err != nil || denials < 20 || strings.Count(out, "deny")+strings.Count(out, "reject") < 20 {
		t.Errorf("of %d denials: %v\n%s\n%s", denials, err, out, errs)
	}
	out, errs, err = telnet()
	var line struct {
		Destination struct{ Port int }
	}
	if jsonErr := json.Unmarshal([]byte(out), &line); err != nil || jsonErr != nil || !strings.Contains(out, "no-telnet") {
		t.Errorf("of a policy: %v, %v\n%s", err, jsonErr, out)
	}
	if !strings.Contains(errs, `no policy, filter, term or screen is named "no-such" so far`) {
		t.Errorf("standard error says\n%s", errs)
	}
}

// TestTailRefuses has mistakes said, and nothing printed.
func TestTailRefuses(t *testing.T) {
	c := controlPipeline(t)
	for _, x := range []struct{ args, want string }{
		{"--only deny", `unknown kind "deny"`},
		{"--zone trsut", `there is no zone "trsut"; did you mean "trust"?`},
		{"--address 10.0.0.0/33", `address: must be an address or a prefix`},
		{"--address fe80::1%eth0", `address: must be`},
		{"--zone=", `--zone: it is empty`},
		{"--zone trust,", `--zone: it is empty`},
		{"--policy=", `--policy: it is empty`},
		{"--only=", `--only: it is empty`},
		{"--port 70000", `port: must be 0 to 65535`},
		{"--format frames", `frames are not lines`},
		{"--format xml", `unknown "xml"`},
		{"--control " + c.socket + "x", "no such socket"},
		{"--follow --control " + c.socket + "x", "no such socket"},
	} {
		out, _, err := invoke(t, append([]string{"tail", "--control", c.socket}, strings.Fields(x.args)...)...)
		if err == nil || out != "" || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %s; printed %q", x.args, err, x.want, out)
		}
	}
	if n, _ := c.Tail().Watchers(); n != 0 {
		t.Errorf("%d look still", n)
	}
}

// TestTailEnds ends with the daemon, which may end within an event, and when nobody reads what it prints.
func TestTailEnds(t *testing.T) {
	left := uint64(0)
	var notes, out bytes.Buffer
	lines := io.NopCloser(strings.NewReader("one\n# 3 events are left \x1b[2Jout\ntwo\nthr"))
	if err := copyEvents(&out, &notes, lines, &left); err != nil || out.String() != "one\ntwo\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if want := "3 events are left \\u001b[2Jout\n"; notes.String() != want {
		t.Errorf("noted %q, want %q", notes.String(), want)
	}
	if err := copyEvents(broken{}, &notes, io.NopCloser(strings.NewReader("one\n")), &left); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("into a closed pipe: %v", err)
	}
	if err := copyEvents(broken{}, &notes, io.NopCloser(strings.NewReader(control.Comment+"x\n")), &left); err != nil {
		t.Errorf("of a note alone: %v", err)
	}
}

// TestTailFollows goes on with the next daemon, also when one has ended between taking the connection and an answer. An answer that refuses
// ends it.
func TestTailFollows(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "control")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	const header = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
	served := make(chan error, 1)
	go func() {
		defer l.Close()
		for _, answer := range []string{header + "one\n", "", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nthere is no zone"} {
			conn, err := l.Accept()
			if err != nil {
				served <- err
				return
			}
			_, readErr := http.ReadRequest(bufio.NewReader(conn))
			_, err = io.WriteString(conn, answer)
			if err := errors.Join(readErr, err, conn.Close()); err != nil {
				served <- err
				return
			}
		}
		served <- nil
	}()
	out, errs, err := invoke(t, "tail", "--follow", "--control", socket)
	if out != "one\n" || err == nil || !strings.Contains(err.Error(), "there is no zone") || strings.Count(errs, "waiting for the next one") != 1 {
		t.Errorf("printed %q, said %q, %v", out, errs, err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
