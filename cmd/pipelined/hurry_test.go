package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/sdk/eventstream"
)

// TestSecondSignal stops a daemon whose receiver takes everything and acknowledges nothing: the first signal begins to drain,
// which would take ten minutes, the second ends it, unless it comes at the same time. Every record is accounted for as abandoned.
func TestSecondSignal(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	l, err := eventstream.ListenUnix(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	capture, err := filepath.Abs("testdata/edge.pcapng.gz")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "p.toml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
[pipeline]
sources = "in"
sinks   = "hub"
[sources.in]
plugin = "pcap"
file   = %q
[sinks.hub]
plugin = "unixsock"
path   = %q
[service]
metrics = ""
drain   = "10m"
`, capture, socket), 0o600); err != nil {
		t.Fatal(err)
	}
	var errs output
	root := newRoot()
	root.SetErr(&errs)
	root.SetArgs([]string{"run", "-c", config})
	ended := make(chan error, 1)
	go func() {
		ended <- root.ExecuteContext(t.Context())
		_ = l.Close() // nobody will connect any more
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatalf("%v: %v\n%s", err, <-ended, errs.String())
	}
	defer conn.Close()
	takeOne(t, conn)
	signal := func() {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	signal()
	for end := begin.Add(time.Minute); !strings.Contains(errs.String(), "msg=stopping"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("does not stop:\n%s", errs.String())
		}
	}
	signal() // the first once more: a wrapper has sent it as well
	select {
	case err = <-ended:
		if time.Since(begin) < sameSignal { // else the machine is slow, and it was a second one
			t.Fatalf("ended after the first signal: %v\n%s", err, errs.String())
		}
	case <-time.After(sameSignal):
		signal()
		err = <-ended
	}
	if err != nil || !strings.Contains(errs.String(), "second signal: not draining any longer") {
		t.Error(err, "and no second signal was seen:\n", errs.String())
	}
	text := errs.String()
	abandoned := regexp.MustCompile(`records abandoned" sink=hub records=(\d+)`).FindStringSubmatch(text)
	if abandoned == nil || abandoned[1] == "0" || !strings.Contains(text, "\n0 unaccounted for") {
		t.Errorf("the account:\n%s", text)
	}
}

// takeOne reads until the first record has come.
func takeOne(t *testing.T, conn net.Conn) {
	t.Helper()
	in := eventstream.NewReader(conn, 0)
	for {
		f, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Seq() > 0 {
			return
		}
	}
}
