// Package httpconns serves HTTP to a bounded number of connections.
package httpconns

import (
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
)

// Conns are a server's open connections, the oldest first. When one more than the limit is accepted, another one is closed,
// so that idle connections neither use up descriptors nor keep other clients out. Safe for concurrent use.
type Conns struct {
	limit   int
	crowded *atomic.Uint64

	mu   sync.Mutex
	open []*conn
}

// New returns the connections of a server that may have so many. crowded counts those that are closed for newer ones; it may be that of
// other servers, too.
func New(limit int, crowded *atomic.Uint64) *Conns { return &Conns{limit: limit, crowded: crowded} }

// conn is one connection.
type conn struct {
	net.Conn

	asks bool // a request was read and is being answered
}

// Changed is http.Server.ConnState: the server calls it with StateNew before it accepts the next connection.
func (c *Conns) Changed(nc net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.open, func(o *conn) bool { return o.Conn == nc })
	switch state {
	case http.StateNew:
		if len(c.open) >= c.limit {
			c.drop()
		}
		c.open = append(c.open, &conn{Conn: nc})
	case http.StateActive, http.StateIdle:
		if i >= 0 {
			c.open[i].asks = state == http.StateActive
		}
	case http.StateClosed, http.StateHijacked:
		if i >= 0 {
			c.open = slices.Delete(c.open, i, i+1)
		}
	}
}

// drop closes the oldest connection without a request, or else the oldest.
func (c *Conns) drop() {
	i := max(slices.IndexFunc(c.open, func(o *conn) bool { return !o.asks }), 0)
	_ = c.open[i].Close() // an error means that the peer has gone
	c.open = slices.Delete(c.open, i, i+1)
	c.crowded.Add(1)
}

// Count returns how many connections are open, and how many were closed for newer ones, of all servers that count them together.
func (c *Conns) Count() (open int, crowded uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open), c.crowded.Load()
}
