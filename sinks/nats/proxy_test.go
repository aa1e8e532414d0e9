package nats_test

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// proxy stands between a sink and its server, and fails as it is told.
type proxy struct {
	url string
	all sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond // mode or closed
	mode    int
	conns   []net.Conn
	closed  bool
}

// What a proxy does.
const (
	pass  = iota // everything goes through
	deaf         // what the server says is swallowed
	mute         // what either says is swallowed
	stuck        // nothing is read
)

func startProxy(tb testing.TB, s *server.Server) *proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{url: "nats://" + l.Addr().String()}
	p.changed = sync.NewCond(&p.mu)
	to := strings.TrimPrefix(s.ClientURL(), "nats://")
	p.all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			if !p.add(in, out) {
				return
			}
			p.all.Go(func() { p.copy(out, in, mute) })
			p.all.Go(func() { p.copy(in, out, deaf) })
		}
	})
	tb.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.changed.Broadcast()
		p.mu.Unlock()
		l.Close()
		p.cut()
		p.all.Wait()
	})
	return p
}

func (p *proxy) add(in, out net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		in.Close()
		out.Close()
		return false
	}
	p.conns = append(p.conns, in, out)
	return true
}

// copy copies until either end closes, and swallows what comes while the mode is at least that.
func (p *proxy) copy(to, from net.Conn, swallow int) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		p.whileStuck()
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if p.what() >= swallow {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// set makes it fail, or not.
func (p *proxy) set(mode int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = mode
	p.changed.Broadcast()
}

func (p *proxy) what() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode
}

func (p *proxy) whileStuck() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.mode == stuck && !p.closed {
		p.changed.Wait()
	}
}

// cut closes every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}
