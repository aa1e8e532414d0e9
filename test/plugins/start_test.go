package plugins

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSignalsWhileStarting signals a daemon that waits for a plugin: SIGHUP does not end it, SIGTERM does, at once and in order.
func TestSignalsWhileStarting(t *testing.T) {
	dir := t.TempDir()
	mark := filepath.Join(dir, "started")
	plugin := write(t, filepath.Join(dir, "slow"), fmt.Sprintf("#!/bin/sh\n>%s\nexec sleep 60\n", mark))
	if err := os.Chmod(plugin, 0o755); err != nil {
		t.Fatal(err)
	}
	path := write(t, filepath.Join(dir, "p.toml"), fmt.Sprintf(`
[pipeline]
sources = ["capture"]
sinks   = ["slow"]
[service]
metrics     = ""
runtime_dir = %q
[sources.capture]
plugin = "pcap"
file   = "testdata/edge.pcapng.gz"
[sinks.slow]
plugin  = "exec"
command = %q
`, sockets(t), plugin))
	daemon := exec.Command(build(t, "./cmd/pipelined"), "run", "-c", path)
	daemon.Dir = root
	var said bytes.Buffer
	daemon.Stderr = &said
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if _, err := os.Stat(mark); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Error("the plugin is not started")
			break
		}
	}
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		if err := daemon.Process.Signal(s); err != nil {
			t.Error(err)
		}
	}
	if err := daemon.Wait(); err != nil || !strings.Contains(said.String(), "stopped before it began") {
		t.Errorf("%v: %s", err, said.String())
	}
}
