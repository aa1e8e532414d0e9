package metrics

import (
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// conns are a server's open connections, the oldest first. When one more than the limit is accepted, another one is closed,
// so that idle connections neither use up descriptors nor keep other clients out.
type conns struct {
	limit int

	mu      sync.Mutex
	open    []*conn
	crowded uint64 // connections closed for newer ones
}

var _ prometheus.Collector = (*conns)(nil)

// conn is one connection.
type conn struct {
	net.Conn
	asks bool // a request was read and is being answered
}

// changed is http.Server.ConnState: the server calls it with StateNew before it accepts the next connection.
func (c *conns) changed(nc net.Conn, state http.ConnState) {
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
func (c *conns) drop() {
	i := max(slices.IndexFunc(c.open, func(o *conn) bool { return !o.asks }), 0)
	_ = c.open[i].Close() // an error means that the peer has gone
	c.open = slices.Delete(c.open, i, i+1)
	c.crowded++
}

func connDescs() (open, crowded *prometheus.Desc) {
	return desc("http_connections", "Open connections to the HTTP listener."),
		desc("http_connections_dropped_total", "Connections to the HTTP listener that were closed for newer ones: too many were open.")
}

// Describe sends both metrics.
func (c *conns) Describe(ch chan<- *prometheus.Desc) {
	open, crowded := connDescs()
	ch <- open
	ch <- crowded
}

// Collect sends both metrics. Safe for concurrent use.
func (c *conns) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	n, dropped := len(c.open), c.crowded
	c.mu.Unlock()
	open, crowded := connDescs()
	ch <- prometheus.MustNewConstMetric(open, prometheus.GaugeValue, float64(n))
	ch <- prometheus.MustNewConstMetric(crowded, prometheus.CounterValue, float64(dropped))
}
