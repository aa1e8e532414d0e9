package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// asClient makes the test's executable a client of the socket that it names.
const asClient = "PIPELINED_TEST_CLIENT"

func TestMain(m *testing.M) {
	if path := os.Getenv(asClient); path != "" {
		code, body, err := NewClient(path).Get(context.Background(), "/daemon")
		if dial, ok := errors.AsType[*DialError](err); ok {
			err = dial.Err
		}
		fmt.Println(code, strings.Join(strings.Fields(string(body)), " "), err)
		os.Exit(0)
	}
	// The server waits half a second for a peer that it has refused.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// askAs asks for the daemon as another user.
func askAs(t *testing.T, path string, uid, gid uint32, groups ...uint32) string {
	t.Helper()
	cmd := exec.Command(executable(t))
	cmd.Env = append(os.Environ(), asClient+"="+path)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// executable returns a copy of the test's executable that every user may run.
func executable(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(publicDir(t), "client")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// publicDir returns a directory that every user can pass.
func publicDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// serve serves a daemon at a socket until the test ends.
func serve(t testing.TB, d Daemon, o ListenOptions) *Client {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(publicDir(t), "control")
	}
	if o.Mode == 0 {
		o.Mode = DefaultMode
	}
	l, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	s, done := NewServer(d), make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), <-done); err != nil {
			t.Error(err)
		}
	})
	return NewClient(o.Path)
}

// dial connects without a word.
func dial(t *testing.T, c *Client) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", c.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

var pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page ", r.URL.Path) })
