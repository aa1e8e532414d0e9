package metrics

import (
	"fmt"
	"io"
	"strings"
)

// legend says what the words of [Ledger.WriteText] mean. Lines fit 100 columns.
var legend = []struct{ word, meaning string }{
	{"received", "packets that were read = forwarded + dropped + passed + refused + not sent"},
	{"forwarded", "sent on by the source: a bridge"},
	{"dropped", "by a policy, screen or filter; in a tap or a capture: would have been"},
	{"passed", "looked at and let go"},
	{"refused", "could not be decoded; the causes are listed"},
	{"not sent", "let through, but a bridge had no room, or no interface that was up"},
	{"created", "sessions that began = closed + active"},
	{"closed", "sessions that ended"},
	{"active", "sessions that had not ended"},
	{"given up", "of closed: unanswered sessions that made room in a full table"},
	{"table full", "sessions not created because the table was full"},
	{"offered", "events that happened = rate limited + admitted"},
	{"rate limited", "events that [admission] refused: more than the limit of their kind and zone"},
	{"admitted", "events for sinks = filtered + queued + over budget + disconnected + absent + closed"},
	{"queued", "got a place in the sink's ring"},
	{"acknowledged", "taken by the sink's destination"},
	{"filtered", "of a kind that the sink does not want"},
	{"over budget", "refused because the ring was full: the sink is slower than its events"},
	{"disconnected", "the same, while the sink had no destination"},
	{"other", "absent, closed, rejected, evicted; at the stop abandoned, or kept for the next run"},
	{"in flight", "queued and not yet acknowledged"},
	{"unaccounted", "by how much these sums miss; 0 at rest"},
}

// WriteLegend writes what the words of the ledger mean, and an empty line.
func WriteLegend(w io.Writer) error {
	var b strings.Builder
	for _, l := range legend {
		fmt.Fprintf(&b, "%14s  %s\n", l.word, l.meaning)
	}
	_, err := io.WriteString(w, b.String()+"\n")
	return err
}
