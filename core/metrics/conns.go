package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rtflow/pipelined/internal/httpconns"
)

// conns are the metrics of a server's connections.
type conns struct{ *httpconns.Conns }

var _ prometheus.Collector = conns{}

func connDescs() (open, crowded *prometheus.Desc) {
	return desc("http_connections", "Open connections to the HTTP listener."),
		desc("http_connections_dropped_total", "Connections to the HTTP listener that were closed for newer ones: too many were open.")
}

// Describe sends both metrics.
func (conns) Describe(ch chan<- *prometheus.Desc) {
	open, crowded := connDescs()
	ch <- open
	ch <- crowded
}

// Collect sends both metrics. Safe for concurrent use.
func (c conns) Collect(ch chan<- prometheus.Metric) {
	n, dropped := c.Count()
	open, crowded := connDescs()
	ch <- prometheus.MustNewConstMetric(open, prometheus.GaugeValue, float64(n))
	ch <- prometheus.MustNewConstMetric(crowded, prometheus.CounterValue, float64(dropped))
}
