package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/routes"
	"github.com/rtflow/pipelined/sdk"
)

// Snapshot is everything that the metrics show.
type Snapshot struct {
	Ledger        Ledger
	RateLimited   map[string]map[string]uint64 // by kind and zone
	Sinks         map[string]Sink
	Sources       map[string][]source.Counter
	SourceOpen    map[string]bool // false: closed, and to be opened again by a reload
	Hooks         map[string][]hook.Counter
	Feed          map[string]uint64 // what sources of events have told
	Routes        *routes.Status    // how the kernel's routes are followed; nil: they are not
	Configuration Configuration
	Translated    map[string]uint64 // what became of the sessions whose translation was asked for
	Watchers      int               // who look at what is admitted
	NotShown      uint64            // events that one of them, or all, did not get to see
}

// Configuration is which configuration runs.
type Configuration struct {
	Number   int // of those that ran, the first is 1
	Since    time.Time
	Refused  bool // the last attempt to change it failed
	Refusals int
}

// Sink is the state of a sink.
type Sink struct {
	Up         bool
	Runs       uint64
	LagRecords uint64
	LagSeconds float64
	// GivenUpBefore are the events, by kind, that earlier runs gave up and that this run's stream announces. It does not
	// change while the pipeline runs.
	GivenUpBefore map[string]uint64
	Counters      []sdk.Counter
	Spool         *SpoolState // nil: none
}

// SpoolState is the state of a sink's spool.
type SpoolState struct {
	Bytes, Size  int64
	Full         bool   // no record fits just now
	Errors, Slow uint64 // operations of the disk that have failed, or taken more than a second
	Torn         uint64 // records that were cut off at the start: their write had not ended
}

// Collector exposes snapshots to Prometheus. It keeps no counters of its own.
type Collector struct {
	read func() Snapshot
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector returns a collector of what read returns at each scrape.
func NewCollector(read func() Snapshot) *Collector { return &Collector{read: read} }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("pipelined_"+name, help, labels, nil)
}

// descs are the descriptions of all metrics.
type descs struct {
	packets, offloaded, bytes, bypassed, refused, droppedAt   *prometheus.Desc
	byZone                                                    *prometheus.Desc
	unclaimed                                                 *prometheus.Desc
	sessions, sessionsTotal, events, limited, queue, inFlight *prometheus.Desc
	sinkUp, sinkRuns, lagRecords, lagSeconds, sink, source    *prometheus.Desc
	sourceOpen                                                *prometheus.Desc
	givenUpBefore, feed, unread, translated                   *prometheus.Desc
	hookPackets, hookBytes, unaccounted                       *prometheus.Desc
	configuration, configured, notTaken, refusals             *prometheus.Desc
	routesUp, routes, routeReads                              *prometheus.Desc
	watchers, notShown                                        *prometheus.Desc
	spool, spoolHeld, spoolBytes, spoolSize, spoolFull        *prometheus.Desc
	spoolErrors, spoolSlow, spoolTorn                         *prometheus.Desc
}

func newDescs() descs {
	return descs{
		packets:       desc("packets_total", "Packets, by what became of them; the sum is all received.", "outcome"),
		offloaded:     desc("packets_offloaded_total", "Packets of sessions that a source has carried by itself; part of those that were forwarded, not sent or passed."),
		bytes:         desc("received_bytes_total", "Bytes of all packets received."),
		byZone:        desc("zone_packets_total", "IP packets that were read, by the zone they come from, without those that a source has carried by itself.", "zone"),
		bypassed:      desc("packets_bypassed_total", "Packets that a bridge sent on, and that nobody read; not in packets_total."),
		refused:       desc("packets_refused_total", "Packets that could not be decoded, by cause.", "cause"),
		droppedAt:     desc("packets_dropped_total", "Packets a hook dropped, by call site.", "site"),
		unclaimed:     desc("packets_without_session_total", "Packets that belong to no session and begin none, by kind.", "kind"),
		sessions:      desc("sessions", "Sessions in the flow table."),
		sessionsTotal: desc("sessions_total", "Sessions, by what became of them.", "outcome"),
		events:        desc("events_total", "Events at the gate: offered = rate_limited + admitted.", "kind", "outcome"),
		limited:       desc("events_rate_limited_total", "Events the limiter refused, by ingress zone.", "kind", "zone"),
		queue: desc("sink_records_total",
			"Admitted events at a sink: admitted = absent + filtered + queued + over_budget + disconnected + closed, and queued + taken_over = acknowledged + rejected + evicted + abandoned + kept + in flight.",
			"sink", "kind", "outcome"),
		inFlight:   desc("sink_in_flight_records", "Records in a sink's ring that are not acknowledged.", "sink", "kind"),
		sinkUp:     desc("sink_up", "1 while the sink runs, 0 while it waits to be run again.", "sink"),
		sinkRuns:   desc("sink_runs_total", "How often the sink was started.", "sink"),
		lagRecords: desc("sink_lag_records", "Records that the sink has not taken yet.", "sink"),
		lagSeconds: desc("sink_lag_seconds", "Age of the oldest record that is not acknowledged.", "sink"),
		givenUpBefore: desc("sink_given_up_before_events",
			"Events that earlier runs gave up, which this run's first record announces; the same for the whole run.", "sink", "kind"),
		sink:          desc("sink_total", "A sink's own counters.", "sink", "counter"),
		source:        desc("source_total", "A source's own counters.", "source", "queue", "counter"),
		sourceOpen:    desc("source_open", "1 while a source is open, 0 while a reload opens it again, or since that failed.", "source"),
		hookPackets:   desc("hook_packets_total", "Packets that a hook counted.", "hook", "counter"),
		hookBytes:     desc("hook_bytes_total", "Bytes that a hook counted.", "hook", "counter"),
		feed:          desc("feed_total", "What sources of events have told, and what became of it.", "outcome"),
		translated:    desc("translations_total", "Sessions whose translation by this host was asked for, by what became of the question.", "outcome"),
		unread:        desc("events_unread_total", "Events that were lost before they could be read from their source, at most."),
		configuration: desc("configuration", "Which configuration runs: 1 is the one that the daemon started with, the next reload makes it 2."),
		configured:    desc("configuration_since_seconds", "Unix time since when it runs."),
		notTaken:      desc("configuration_refused", "1 if the last reload was refused, and the configuration before it still runs."),
		refusals:      desc("configuration_refused_total", "Reloads that were refused."),
		routesUp:      desc("routes_up", "1 while the kernel's interfaces and routes can be read, 0 while they cannot."),
		routes:        desc("routes", "The kernel's routes that tell the zone of addresses: all, and the prefixes that are kept of them.", "which"),
		routeReads:    desc("route_reads_total", "How often the kernel's interfaces and routes were read."),
		watchers:      desc("watchers", "Who look at events at the control socket."),
		notShown:      desc("events_not_shown_total", "Events that somebody who looked did not get to see: they were too many at a time."),
		spool: desc("sink_spool_records_total",
			"Records in a sink's spool: found + spooled = unspooled + held + left, and unspooled = acknowledged + rejected + evicted + damaged.", "sink", "kind", "outcome"),
		spoolHeld:   desc("sink_spool_held_records", "Records in a sink's spool that are not acknowledged.", "sink", "kind"),
		spoolBytes:  desc("sink_spool_bytes", "Bytes that the files of a sink's spool take.", "sink"),
		spoolSize:   desc("sink_spool_size_bytes", "Bytes that they may take.", "sink"),
		spoolFull:   desc("sink_spool_full", "1 while no record fits into a sink's spool.", "sink"),
		spoolErrors: desc("sink_spool_errors_total", "Operations of the disk that have failed; they are tried again.", "sink"),
		spoolSlow:   desc("sink_spool_slow_total", "Operations of the disk that have taken more than a second.", "sink"),
		spoolTorn:   desc("sink_spool_torn_records", "Records that the start of this run has cut off: their write had not ended. At least so many.", "sink"),
		unaccounted: desc("unaccounted", "By how much the sums of the ledger miss; 0 at rest."),
	}
}

// Describe sends nothing: the label values come with the configuration.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends one snapshot.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s, d := c.read(), newDescs()
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	p := &s.Ledger.Packets
	count(d.packets, p.Forwarded, "forwarded")
	count(d.packets, p.NotSent, "not_sent")
	count(d.packets, p.Dropped, "dropped")
	count(d.packets, p.Passed, "passed")
	count(d.packets, p.Refused, "refused")
	count(d.offloaded, p.Offloaded)
	count(d.bytes, p.Bytes)
	count(d.bypassed, p.Bypassed)
	for zone, n := range p.ByZone {
		count(d.byZone, n, zone)
	}
	for cause, n := range p.RefusedAs {
		count(d.refused, n, cause)
	}
	for site, n := range p.DroppedAt {
		count(d.droppedAt, n, site)
	}
	count(d.unclaimed, p.OutOfState, "out_of_state")
	count(d.unclaimed, p.Strays, "stray")
	count(d.unclaimed, p.Orphans, "orphan_fragment")
	count(d.unclaimed, p.Unkept, "unkept_answer")
	gauge(d.sessions, float64(s.Ledger.Sessions.Active))
	count(d.sessionsTotal, s.Ledger.Sessions.Created, "created")
	count(d.sessionsTotal, s.Ledger.Sessions.TakenOver, "taken_over")
	count(d.sessionsTotal, s.Ledger.Sessions.Closed, "closed")
	count(d.sessionsTotal, s.Ledger.Sessions.GivenUp, "given_up")
	count(d.sessionsTotal, s.Ledger.Sessions.Withdrawn, "withdrawn")
	count(d.sessionsTotal, s.Ledger.Sessions.Full, "table_full")
	for kind, e := range s.Ledger.Events {
		count(d.events, e.Offered, kind, "offered")
		count(d.events, e.RateLimited, kind, "rate_limited")
		count(d.events, e.Admitted, kind, "admitted")
	}
	for kind, zones := range s.RateLimited {
		for zone, n := range zones {
			count(d.limited, n, kind, zone)
		}
	}
	for sink, kinds := range s.Ledger.Sinks {
		for kind, q := range kinds {
			count(d.queue, q.Filtered, sink, kind, "filtered")
			count(d.queue, q.Queued, sink, kind, "queued")
			count(d.queue, q.OverBudget, sink, kind, "over_budget")
			count(d.queue, q.Disconnected, sink, kind, "disconnected")
			count(d.queue, q.Absent, sink, kind, "absent")
			count(d.queue, q.Closed, sink, kind, "closed")
			count(d.queue, q.Acknowledged, sink, kind, "acknowledged")
			count(d.queue, q.Rejected, sink, kind, "rejected")
			count(d.queue, q.Evicted, sink, kind, "evicted")
			count(d.queue, q.Abandoned, sink, kind, "abandoned")
			count(d.queue, q.Kept, sink, kind, "kept")
			count(d.queue, q.TakenOver, sink, kind, "taken_over")
			gauge(d.inFlight, float64(q.InFlight), sink, kind)
			if s := q.Spool; s != nil {
				count(d.spool, s.Found, sink, kind, "found")
				count(d.spool, s.Spooled, sink, kind, "spooled")
				count(d.spool, s.Unspooled, sink, kind, "unspooled")
				count(d.spool, s.Evicted, sink, kind, "evicted")
				count(d.spool, s.Damaged, sink, kind, "damaged")
				count(d.spool, s.Left, sink, kind, "left")
				gauge(d.spoolHeld, float64(s.Held), sink, kind)
			}
		}
	}
	for sink, st := range s.Sinks {
		up := 0.0
		if st.Up {
			up = 1
		}
		gauge(d.sinkUp, up, sink)
		count(d.sinkRuns, st.Runs, sink)
		gauge(d.lagRecords, float64(st.LagRecords), sink)
		gauge(d.lagSeconds, st.LagSeconds, sink)
		for kind, n := range st.GivenUpBefore {
			gauge(d.givenUpBefore, float64(n), sink, kind)
		}
		for _, c := range st.Counters {
			count(d.sink, c.Value, sink, c.Name)
		}
		if s := st.Spool; s != nil {
			full := 0.0
			if s.Full {
				full = 1
			}
			gauge(d.spoolBytes, float64(s.Bytes), sink)
			gauge(d.spoolSize, float64(s.Size), sink)
			gauge(d.spoolFull, full, sink)
			count(d.spoolErrors, s.Errors, sink)
			count(d.spoolSlow, s.Slow, sink)
			gauge(d.spoolTorn, float64(s.Torn), sink)
		}
	}
	for name, counters := range s.Sources {
		for _, c := range counters {
			queue := "all"
			if c.Queue >= 0 {
				queue = strconv.Itoa(c.Queue)
			}
			count(d.source, c.Value, name, queue, c.Name)
		}
	}
	for name, open := range s.SourceOpen {
		value := 0.0
		if open {
			value = 1
		}
		gauge(d.sourceOpen, value, name)
	}
	for name, counters := range s.Hooks {
		for _, c := range counters {
			count(d.hookPackets, c.Packets, name, c.Name)
			count(d.hookBytes, c.Bytes, name, c.Name)
		}
	}
	for outcome, n := range s.Feed {
		count(d.feed, n, outcome)
	}
	for outcome, n := range s.Translated {
		count(d.translated, n, outcome)
	}
	count(d.unread, s.Ledger.Unread)
	gauge(d.watchers, float64(s.Watchers))
	count(d.notShown, s.NotShown)
	gauge(d.configuration, float64(s.Configuration.Number))
	gauge(d.configured, float64(s.Configuration.Since.UnixMilli())/1e3)
	refused := 0.0
	if s.Configuration.Refused {
		refused = 1
	}
	gauge(d.notTaken, refused)
	count(d.refusals, uint64(s.Configuration.Refusals))
	if r := s.Routes; r != nil {
		up := 0.0
		if r.Error == "" {
			up = 1
		}
		gauge(d.routesUp, up)
		gauge(d.routes, float64(r.Routes), "all")
		gauge(d.routes, float64(r.Prefixes), "kept")
		count(d.routeReads, r.Reads)
	}
	gauge(d.unaccounted, float64(s.Ledger.Unaccounted))
}
