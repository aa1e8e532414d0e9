package metrics

import "github.com/prometheus/client_golang/prometheus"

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
