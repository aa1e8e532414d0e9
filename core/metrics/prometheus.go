package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rtflow/pipelined/internal/routes"
)

// Collector exposes snapshots to Prometheus. It keeps no counters of its own.
type Collector struct {
	read  func() Snapshot
	descs descs
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector returns a collector of what read returns at each scrape.
func NewCollector(read func() Snapshot) *Collector { return &Collector{read, newDescs()} }

// Describe sends nothing: the label values come with the configuration.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends one snapshot.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s, out := c.read(), &scrape{&c.descs, ch}
	out.packets(&s.Ledger.Packets)
	out.sessions(&s.Ledger.Sessions)
	out.events(&s)
	for sink, kinds := range s.Ledger.Sinks {
		for kind, q := range kinds {
			out.queue(&q, sink, kind)
		}
	}
	for name, sink := range s.Sinks {
		out.sink(&sink, name)
	}
	out.sources(&s)
	for name, counters := range s.Hooks {
		for _, c := range counters {
			out.count(out.d.hookPackets, c.Packets, name, c.Name)
			out.count(out.d.hookBytes, c.Bytes, name, c.Name)
		}
	}
	out.configuration(&s.Configuration)
	if s.Routes != nil {
		out.routes(s.Routes)
	}
	out.gauge(out.d.watchers, float64(s.Watchers))
	out.count(out.d.notShown, s.NotShown)
	out.gauge(out.d.unaccounted, float64(s.Ledger.Unaccounted))
}

// scrape sends the metrics of one snapshot.
type scrape struct {
	d  *descs
	ch chan<- prometheus.Metric
}

func (o *scrape) count(d *prometheus.Desc, v uint64, labels ...string) {
	o.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (o *scrape) gauge(d *prometheus.Desc, v float64, labels ...string) {
	o.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// flag sends 1 for true.
func (o *scrape) flag(d *prometheus.Desc, v bool, labels ...string) {
	value := 0.0
	if v {
		value = 1
	}
	o.gauge(d, value, labels...)
}

func (o *scrape) packets(p *Packets) {
	o.count(o.d.packets, p.Forwarded, "forwarded")
	o.count(o.d.packets, p.NotSent, "not_sent")
	o.count(o.d.packets, p.Dropped, "dropped")
	o.count(o.d.packets, p.Passed, "passed")
	o.count(o.d.packets, p.Refused, "refused")
	o.count(o.d.offloaded, p.Offloaded)
	o.count(o.d.bytes, p.Bytes)
	o.count(o.d.bypassed, p.Bypassed)
	for zone, n := range p.ByZone {
		o.count(o.d.byZone, n, zone)
	}
	for cause, n := range p.RefusedAs {
		o.count(o.d.refused, n, cause)
	}
	for site, n := range p.DroppedAt {
		o.count(o.d.droppedAt, n, site)
	}
	o.count(o.d.unclaimed, p.OutOfState, "out_of_state")
	o.count(o.d.unclaimed, p.Strays, "stray")
	o.count(o.d.unclaimed, p.Orphans, "orphan_fragment")
	o.count(o.d.unclaimed, p.Unkept, "unkept_answer")
}

func (o *scrape) sessions(s *Sessions) {
	o.gauge(o.d.sessions, float64(s.Active))
	o.count(o.d.sessionsTotal, s.Created, "created")
	o.count(o.d.sessionsTotal, s.TakenOver, "taken_over")
	o.count(o.d.sessionsTotal, s.Closed, "closed")
	o.count(o.d.sessionsTotal, s.GivenUp, "given_up")
	o.count(o.d.sessionsTotal, s.Withdrawn, "withdrawn")
	o.count(o.d.sessionsTotal, s.Full, "table_full")
}

// events sends what became of events up to the gate.
func (o *scrape) events(s *Snapshot) {
	for kind, e := range s.Ledger.Events {
		o.count(o.d.events, e.Offered, kind, "offered")
		o.count(o.d.events, e.RateLimited, kind, "rate_limited")
		o.count(o.d.events, e.Admitted, kind, "admitted")
	}
	for kind, zones := range s.RateLimited {
		for zone, n := range zones {
			o.count(o.d.limited, n, kind, zone)
		}
	}
	for outcome, n := range s.Feed {
		o.count(o.d.feed, n, outcome)
	}
	for outcome, n := range s.Translated {
		o.count(o.d.translated, n, outcome)
	}
	o.count(o.d.unread, s.Ledger.Unread)
}

// queue sends what became of the records of a kind at a sink.
func (o *scrape) queue(q *Queue, sink, kind string) {
	o.count(o.d.queue, q.Filtered, sink, kind, "filtered")
	o.count(o.d.queue, q.Queued, sink, kind, "queued")
	o.count(o.d.queue, q.OverBudget, sink, kind, "over_budget")
	o.count(o.d.queue, q.Disconnected, sink, kind, "disconnected")
	o.count(o.d.queue, q.Absent, sink, kind, "absent")
	o.count(o.d.queue, q.Closed, sink, kind, "closed")
	o.count(o.d.queue, q.Acknowledged, sink, kind, "acknowledged")
	o.count(o.d.queue, q.Rejected, sink, kind, "rejected")
	o.count(o.d.queue, q.Evicted, sink, kind, "evicted")
	o.count(o.d.queue, q.Abandoned, sink, kind, "abandoned")
	o.count(o.d.queue, q.Kept, sink, kind, "kept")
	o.count(o.d.queue, q.TakenOver, sink, kind, "taken_over")
	o.gauge(o.d.inFlight, float64(q.InFlight), sink, kind)
	if s := q.Spool; s != nil {
		o.count(o.d.spool, s.Found, sink, kind, "found")
		o.count(o.d.spool, s.Spooled, sink, kind, "spooled")
		o.count(o.d.spool, s.Unspooled, sink, kind, "unspooled")
		o.count(o.d.spool, s.Evicted, sink, kind, "evicted")
		o.count(o.d.spool, s.Damaged, sink, kind, "damaged")
		o.count(o.d.spool, s.Left, sink, kind, "left")
		o.gauge(o.d.spoolHeld, float64(s.Held), sink, kind)
	}
}

func (o *scrape) sink(s *Sink, name string) {
	o.flag(o.d.sinkUp, s.Up, name)
	o.count(o.d.sinkRuns, s.Runs, name)
	o.gauge(o.d.lagRecords, float64(s.LagRecords), name)
	o.gauge(o.d.lagSeconds, s.LagSeconds, name)
	for kind, n := range s.GivenUpBefore {
		o.gauge(o.d.givenUpBefore, float64(n), name, kind)
	}
	for _, c := range s.Counters {
		o.count(o.d.sink, c.Value, name, c.Name)
	}
	if s := s.Spool; s != nil {
		o.gauge(o.d.spoolBytes, float64(s.Bytes), name)
		o.gauge(o.d.spoolSize, float64(s.Size), name)
		o.flag(o.d.spoolFull, s.Full, name)
		o.count(o.d.spoolErrors, s.Errors, name)
		o.count(o.d.spoolSlow, s.Slow, name)
		o.gauge(o.d.spoolTorn, float64(s.Torn), name)
	}
}

func (o *scrape) sources(s *Snapshot) {
	for name, counters := range s.Sources {
		for _, c := range counters {
			queue := "all"
			if c.Queue >= 0 {
				queue = strconv.Itoa(c.Queue)
			}
			o.count(o.d.source, c.Value, name, queue, c.Name)
		}
	}
	for name, open := range s.SourceOpen {
		o.flag(o.d.sourceOpen, open, name)
	}
}

func (o *scrape) configuration(c *Configuration) {
	o.gauge(o.d.configuration, float64(c.Number))
	o.gauge(o.d.configured, float64(c.Since.UnixMilli())/1e3)
	o.flag(o.d.notTaken, c.Refused)
	o.count(o.d.refusals, uint64(c.Refusals))
}

func (o *scrape) routes(r *routes.Status) {
	o.flag(o.d.routesUp, r.Error == "")
	o.gauge(o.d.routes, float64(r.Routes), "all")
	o.gauge(o.d.routes, float64(r.Prefixes), "kept")
	o.count(o.d.routeReads, r.Reads)
}
