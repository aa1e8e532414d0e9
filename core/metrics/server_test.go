package metrics

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(hold) != "" {
		os.Exit(serveWithFewDescriptors())
	}
	goleak.VerifyTestMain(m)
}

// start serves until the test ends.
func start(tb testing.TB, o ServerOptions) (address string) {
	tb.Helper()
	return startWith(tb, func() any { return 1 }, o)
}

func startWith(tb testing.TB, status func() any, o ServerOptions) (address string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := NewServer(NewCollector(snapshot), status, func() error { return nil }, o)
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	tb.Cleanup(func() {
		if err := errors.Join(s.Close(), <-done); err != nil {
			tb.Error(err)
		}
	})
	return l.Addr().String()
}

// ask sends a request over a connection of its own, with these header lines, and returns the answer's code.
func ask(tb testing.TB, address, path string, headers ...string) (code int, body string) {
	tb.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\n%s\r\nConnection: close\r\n\r\n", path, strings.Join(headers, "\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// A page in a browser that has its own name resolve to this host (DNS rebinding) reads nothing.
func TestHosts(t *testing.T) {
	address := start(t, ServerOptions{Hosts: []string{"edge-1", "metrics.example.net"}})
	for host, want := range map[string]int{
		address: 200, "127.0.0.1": 200, "[::1]:9464": 200, "[::1]": 200, "192.0.2.7:9464": 200, "localhost": 200, "LocalHost.:1": 200,
		"edge-1:9464": 200, "metrics.EXAMPLE.net.": 200, "": 200,
		"example.net": 421, "127.0.0.1.example.net": 421, "localhost.example.net:9464": 421, "edge-1.example.net": 421, "edge-2": 421,
	} {
		for _, path := range []string{"/metrics", "/status", "/healthz"} {
			if code, _ := ask(t, address, path, "Host: "+host); code != want {
				t.Errorf("%s asked as %q: %d, want %d", path, host, code, want)
			}
		}
	}
	if code, _ := ask(t, address, "/status", "Host: a", "Host: b"); code == 200 {
		t.Error("two hosts are answered")
	}
}

// Whatever is answered, a browser neither hands it to a page from elsewhere nor takes it for a script.
func TestHeaders(t *testing.T) {
	h := guard(http.NotFoundHandler(), ServerOptions{Token: "secret"})
	for _, path := range []string{"/status", "/metrics", "/healthz", "/none"} {
		for _, host := range []string{"127.0.0.1", "evil.example"} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Host = host
			h.ServeHTTP(w, r)
			if got := w.Header(); got.Get("X-Content-Type-Options") != "nosniff" || got.Get("Cross-Origin-Resource-Policy") != "same-origin" {
				t.Errorf("%s of %s: %d %v", path, host, w.Code, got)
			}
		}
	}
}

func TestToken(t *testing.T) {
	address := start(t, ServerOptions{Token: "s3cret"})
	for header, want := range map[string]int{
		"Authorization: Bearer s3cret": 200, "Authorization: bearer s3cret": 200,
		"Authorization: Bearer s3cre": 401, "Authorization: Bearer ": 401, "Authorization: Basic s3cret": 401, "Authorization: s3cret": 401,
		"X: y": 401,
	} {
		for _, path := range []string{"/metrics", "/status", "/healthz"} {
			if code, body := ask(t, address, path, "Host: localhost", header); code != want || strings.Contains(body, "s3cret") {
				t.Errorf("%s with %q: %d %q, want %d", path, header, code, body, want)
			}
		}
	}
}

// Connections that ask for nothing give way, the oldest first, and never add up.
func TestIdleConnectionsGiveWay(t *testing.T) {
	asked, answer := make(chan bool), make(chan bool)
	address := startWith(t, func() any { asked <- true; <-answer; return 1 }, ServerOptions{})
	busy, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	fmt.Fprint(busy, "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-asked
	var idle []net.Conn
	for range 3 * MaxConnections {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if len(idle)%2 == 1 {
			fmt.Fprint(c, "GET /metrics HTTP/1.1\r\n") // a request that does not end
		}
		idle = append(idle, c)
	}
	// All but the newest are closed by the server.
	for i, c := range idle[:len(idle)-MaxConnections+1] { // the busy one is among those that stay
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Fatalf("connection %d is not closed: %d, %v", i, n, err)
		}
	}
	if code, body := ask(t, address, "/metrics", "Host: localhost"); code != 200 ||
		!strings.Contains(body, fmt.Sprintf("pipelined_http_connections %d\n", MaxConnections)) ||
		!strings.Contains(body, fmt.Sprintf("pipelined_http_connections_dropped_total %d\n", 2*MaxConnections+2)) {
		t.Errorf("with %d idle connections: %d\n%s", len(idle), code, body)
	}
	answer <- true
	if resp, err := http.ReadResponse(bufio.NewReader(busy), nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("a request that was being worked on is not answered: %v", err)
	}
}

// What the server has to say comes through our logger.
func TestServerLogs(t *testing.T) {
	var out bytes.Buffer
	s := NewServer(NewCollector(snapshot), func() any { return 1 }, func() error { return nil },
		ServerOptions{Log: slog.New(slog.NewTextHandler(&out, nil))})
	if err := s.Serve(&fullListener{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve = %v", err)
	}
	if text := out.String(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, "listener=metrics") ||
		!strings.Contains(text, "too many open files") {
		t.Errorf("logged %q", text)
	}
}

// fullListener has no descriptor left for the first connection, and is closed then.
type fullListener struct{ accepted bool }

func (l *fullListener) Accept() (net.Conn, error) {
	if l.accepted {
		return nil, net.ErrClosed
	}
	l.accepted = true
	return nil, syscall.EMFILE
}

func (*fullListener) Close() error   { return nil }
func (*fullListener) Addr() net.Addr { return &net.TCPAddr{} }

// hold makes the test binary a server with few descriptors, see TestDescriptorsAreLeft.
const hold = "PIPELINED_TEST_HOLD"

// descriptors is the limit of that process.
const descriptors = 256

// serveWithFewDescriptors serves, tells the address, and when its standard input ends, opens a file as a source would.
func serveWithFewDescriptors() int {
	limit := syscall.Rlimit{Cur: descriptors, Max: descriptors}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err = errors.Join(err, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s := NewServer(NewCollector(snapshot), func() any { return 1 }, func() error { return nil }, ServerOptions{})
	go func() { _ = s.Serve(l) }() // until the process ends
	fmt.Fprintln(os.Stdout, l.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until it ends
	f, err := os.Open(os.DevNull)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = f.Close()
	return 0
}

// Clients that hold a thousand connections take no descriptor that the daemon needs for something else, nor anybody's answer.
func TestDescriptorsAreLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), hold+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address = strings.TrimSpace(address)
	for range 4 * descriptors {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if code, body := ask(t, address, "/healthz", "Host: localhost"); code != 200 {
		t.Errorf("%d %q", code, body)
	}
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Errorf("the process could not open a file: %v", err)
	}
}
