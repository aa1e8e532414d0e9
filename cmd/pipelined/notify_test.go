package main

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/control"
)

// TestReloadNotifies reloads with a service manager that listens: it is told that the reload begins, at a time that is not before it was
// asked for, and that the daemon is ready again, whether the configuration was taken over or not.
func TestReloadNotifies(t *testing.T) {
	c := controlPipeline(t)
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	read := func() string {
		t.Helper()
		buf := make([]byte, 256)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	client := control.NewClient(c.socket)
	for _, taken := range []bool{true, false} {
		if !taken {
			c.configure(t, "[pipeline]", "[pipelin]")
		}
		var asked unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &asked); err != nil {
			t.Fatal(err)
		}
		o, err := client.Reload(t.Context())
		if err != nil || o.Taken != taken {
			t.Fatalf("%+v, %v", o, err)
		}
		var began int64
		if got := read(); !isReloading(got, &began) || began < asked.Nano()/1e3 {
			t.Errorf("told %q, asked for at %d", got, asked.Nano()/1e3)
		}
		if got := read(); got != "READY=1" {
			t.Errorf("told %q at the end", got)
		}
	}
}

func isReloading(state string, began *int64) bool {
	n, err := fmt.Sscanf(state, "RELOADING=1\nMONOTONIC_USEC=%d", began)
	return n == 1 && err == nil
}
