package control

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/httpconns"
)

func TestDaemon(t *testing.T) {
	c := serve(t, Daemon{Version: "1.2", Config: "/etc/p.toml", Pages: pages}, ListenOptions{Group: -1})
	id, err := c.Daemon(t.Context())
	if want := (Identity{os.Getpid(), "1.2", "/etc/p.toml"}); err != nil || id != want {
		t.Errorf("%+v, %v; want %+v", id, err, want)
	}
	if code, body, err := c.Get(t.Context(), "/status"); code != http.StatusOK || string(body) != "page /status" || err != nil {
		t.Errorf("another page: %d %q %v", code, body, err)
	}
}

func TestReload(t *testing.T) {
	want := Outcome{Taken: true, Changed: true, Number: 3, Problems: []string{"p.toml:1: x"}}
	var fail error
	c := serve(t, Daemon{Reload: func(context.Context) (Outcome, error) { return want, fail }}, ListenOptions{Group: -1})
	if got, err := c.Reload(t.Context()); !reflect.DeepEqual(got, want) || err != nil {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	fail = errors.New("it is stopping")
	if _, err := c.Reload(t.Context()); err == nil || !strings.HasSuffix(err.Error(), ": it is stopping") {
		t.Errorf("a failure is %v", err)
	}
	// Reading what a page links to changes nothing.
	if code, _, err := c.Get(t.Context(), "/reload"); code != http.StatusMethodNotAllowed && code != http.StatusNotFound || err != nil {
		t.Errorf("GET: %d, %v", code, err)
	}
}

// TestReloadEndsWithTheClient ends the wait for a reload when the client goes.
func TestReloadEndsWithTheClient(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	c := serve(t, Daemon{Reload: func(ctx context.Context) (Outcome, error) {
		close(began)
		<-ctx.Done()
		close(ended)
		return Outcome{}, ctx.Err()
	}}, ListenOptions{Group: -1})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	if _, err := c.Reload(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-ended
}

// TestConnections keeps more connections open than there may be: the oldest is closed, and everybody is answered.
func TestConnections(t *testing.T) {
	c := serve(t, Daemon{}, ListenOptions{Group: -1})
	first := dial(t, c)
	for range MaxConnections {
		dial(t, c)
	}
	if _, err := first.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the oldest connection: %v", err)
	}
	for range 3 {
		if _, err := c.Daemon(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHostileRequests has the server refuse what is no request, or too long.
func TestHostileRequests(t *testing.T) {
	c := serve(t, Daemon{Pages: http.NotFoundHandler()}, ListenOptions{Group: -1})
	for request, want := range map[string]string{
		"\x00\x01\x02\r\n\r\n": "400",
		"GET /daemon HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", httpconns.MaxHeaderBytes+8<<10) + "\r\n\r\n": "431",
		"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n":                                                         "30", // another path
		"DELETE /daemon HTTP/1.1\r\nHost: x\r\n\r\n":                                                                "40",
		"POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n":                                            "400",
	} {
		conn := dial(t, c)
		go func() { _, _ = conn.Write([]byte(request)) }() // the server may stop reading
		line, err := bufio.NewReader(conn).ReadString('\n')
		if !strings.HasPrefix(line, "HTTP/1.1 "+want) {
			t.Errorf("%.40q: %q, %v; want %s", request, line, err, want)
		}
	}
}

func TestNobodyToAsk(t *testing.T) {
	dir := publicDir(t)
	_, err := NewClient(filepath.Join(dir, "none")).Daemon(t.Context())
	if dial, ok := errors.AsType[*DialError](err); !ok || !strings.Contains(dial.Error(), "no such socket") {
		t.Errorf("without a socket: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = NewClient(file).Daemon(t.Context())
	if dial, ok := errors.AsType[*DialError](err); !ok || !strings.Contains(dial.Error(), "it is no socket") {
		t.Errorf("of a file: %v", err)
	}
	l, err := Listen(ListenOptions{Path: filepath.Join(dir, "stale"), Mode: DefaultMode, Group: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := serve(t, Daemon{Pages: pages}, ListenOptions{Group: -1})
	if _, _, err := c.Get(t.Context(), "/x\x7f"); err == nil {
		t.Error("a target that is no URL is asked for")
	}
	other := serve(t, Daemon{Pages: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })}, ListenOptions{Group: -1})
	if err := other.decode(http.StatusOK, []byte("hello"), nil, new(Identity)); err == nil || !strings.Contains(err.Error(), "no pipelined") {
		t.Errorf("an answer that is no JSON: %v", err)
	}
	if err := other.decode(http.StatusTeapot, nil, nil, new(Identity)); err == nil || !strings.Contains(err.Error(), "teapot") {
		t.Errorf("an answer without a body: %v", err)
	}
}

// A daemon that has stopped takes connections still, and never answers: nobody waits for it without end.
func TestDaemonHangs(t *testing.T) {
	path := filepath.Join(publicDir(t), "control")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := newClient(path, time.Second, time.Second) // to connect, too, which takes a while on a busy machine
	var asking sync.WaitGroup
	for name, ask := range map[string]func() error{
		"a page": func() error { _, _, err := c.Get(t.Context(), "/status"); return err },
		"reload": func() error { _, err := c.Reload(t.Context()); return err },
		"events": func() error { _, err := c.Events(t.Context(), new(EventQuery)); return err },
		"frames": func() error { _, err := c.Frames(t.Context(), time.Second); return err },
	} {
		asking.Go(func() {
			if err := ask(); err == nil || !strings.Contains(err.Error(), path+": the daemon does not answer") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	asking.Wait()
	if whole := NewClient(path); whole.reloads.Transport.(*http.Transport).ResponseHeaderTimeout <= reloadTimeout {
		t.Error("a client gives a reload up that the daemon has not")
	}
}
