package httpconns

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p *pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

// dial connects and sends a text.
func (p *pipes) dial(t *testing.T, text string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	p.conns <- server
	if _, err := io.WriteString(client, text); err != nil {
		t.Fatal(err)
	}
	return client
}

// TestRetire retires a server while one request is being answered, one has half a header, one connection is idle, and one answer never ends:
// those that end are answered, and what comes later on their connections is told to connect anew; the last is cut off.
func TestRetire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := New(8, new(atomic.Uint64)).Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/slow":
				<-release
			case "/endless":
				w.WriteHeader(http.StatusOK)
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}
			_, _ = io.WriteString(w, "answer")
		}), time.Minute, slog.New(slog.DiscardHandler))
		l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		served, retired := make(chan error, 1), make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		slow := l.dial(t, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
		half := l.dial(t, "GET /half HTTP/1.1\r\nHo")
		idle := l.dial(t, "GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
		endless := l.dial(t, "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
		answer := func(c net.Conn) (*http.Response, string) {
			t.Helper()
			r, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(r.Body) // of an answer that is cut off it is an error
			return r, string(body)
		}
		if r, _ := answer(idle); r.Close {
			t.Error("a connection ends without need")
		}
		synctest.Wait()
		go func() { retired <- s.Retire(context.Background()) }()
		synctest.Wait()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		time.Sleep(2 * time.Second)
		for c, rest := range map[net.Conn]string{half: "st: x\r\n\r\n", idle: "GET /again HTTP/1.1\r\nHost: x\r\n\r\n"} {
			if _, err := io.WriteString(c, rest); err != nil {
				t.Fatal(err)
			}
			if r, body := answer(c); body != "answer" || !r.Close {
				t.Errorf("%q, the connection ends: %v", body, r.Close)
			}
		}
		time.Sleep(2 * time.Second)
		close(release)
		if _, body := answer(slow); body != "answer" {
			t.Errorf("the request that was under way: %q", body)
		}
		begun := time.Now()
		if _, body := answer(endless); body != "" {
			t.Errorf("an endless answer: %q", body)
		}
		if err := <-retired; err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > readTimeout+WriteTimeout {
			t.Errorf("the last connection ends after %v", took)
		}
		for _, c := range []net.Conn{slow, half, idle, endless} {
			_ = c.Close()
		}
	})
}
