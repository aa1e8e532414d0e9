package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/internal/testing/ports"
)

// TestMoveListener moves the HTTP listener to another address, and then has it ask for a token at the same one, while a request is half
// written: that is answered, and so is each that follows.
func TestMoveListener(t *testing.T) {
	c := controlPipeline(t)
	first, second := net.JoinHostPort("127.0.0.1", ports.Reserve(t)), net.JoinHostPort("127.0.0.1", ports.Reserve(t))
	move := func(to, more string) string {
		t.Helper()
		c.configure(t, `"127.0.0.1:9464"`, fmt.Sprintf("%q%s", to, more))
		return mustRun(t, "reload", "--control", c.socket)
	}
	half := func(address string) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\n"); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	code := func(conn net.Conn, rest string) int {
		t.Helper()
		if _, err := io.WriteString(conn, rest+"\r\n"); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		return r.StatusCode
	}
	if out := move(first, ""); !strings.Contains(out, "service.metrics") {
		t.Errorf("printed %q", out)
	}
	dropped := func(address string) (n int) {
		t.Helper()
		r, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "\npipelined_http_connections_dropped_total ")
		if _, err := fmt.Sscan(rest, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range metrics.MaxConnections + 3 {
		half(first)
	}
	crowded := dropped(first)
	waits := half(first)
	move(second, "")
	if n := dropped(second); crowded < 3 || n < crowded {
		t.Errorf("%d connections were closed for newer ones, and %d after the move", crowded, n)
	}
	if got := code(waits, "Host: localhost\r\n"); got != http.StatusOK {
		t.Errorf("a request that was under way: %d", got)
	}
	if conn, err := net.Dial("tcp", first); err == nil {
		t.Error("the former listener accepts")
		_ = conn.Close()
	}
	waits = half(second)
	move(second, "\nmetrics_token = \"s3cret\"")
	for want, header := range map[int]string{http.StatusUnauthorized: "", http.StatusOK: "Authorization: Bearer s3cret\r\n"} {
		if got := code(half(second), "Host: localhost\r\n"+header); got != want {
			t.Errorf("with %q: %d", header, got)
		}
	}
	if got := code(waits, "Host: localhost\r\n"); got != http.StatusOK {
		t.Errorf("a request from before there was a token: %d", got)
	}
	taken, err := net.Listen("tcp", first)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c.configure(t, `"127.0.0.1:9464"`, fmt.Sprintf("%q", first))
	if _, _, err := invoke(t, "reload", "--control", c.socket); err == nil || !strings.Contains(err.Error(), "service.metrics: ") {
		t.Errorf("an address that is taken: %v", err)
	}
	if got := code(half(second), "Host: localhost\r\nAuthorization: Bearer s3cret\r\n"); got != http.StatusOK {
		t.Errorf("after a refusal: %d", got)
	}
}

// TestMoveControl moves the control socket: the reload that does it is answered at the former one. Other permissions need another socket.
func TestMoveControl(t *testing.T) {
	c := controlPipeline(t)
	former := c.socket
	c.socket = filepath.Join(filepath.Dir(former), "moved")
	c.configure(t)
	if out := mustRun(t, "reload", "--control", former); !strings.Contains(out, "changed service.control\n") {
		t.Errorf("printed %q", out)
	}
	mustRun(t, "status", "--config", c.path)
	if _, err := os.Stat(former); err == nil {
		t.Error("the former socket is there")
	}
	c.configure(t, "[service]\n", "[service]\ncontrol_mode = \"0600\"\n")
	if _, _, err := invoke(t, "reload", "--control", c.socket); err == nil || !strings.Contains(err.Error(), "restart is needed for what has changed in service.control_group, service.control_mode") {
		t.Errorf("other permissions: %v", err)
	}
}
