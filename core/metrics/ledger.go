// Package metrics sums up the counters of all packages in a ledger, and serves it to people and to Prometheus.
//
// The ledger accounts for every packet and every event, and checks the sums of promise P1. The counters belong to the packages
// that decide; this package counts nothing itself.
package metrics

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/rtflow/pipelined/internal/terminal"
)

// Ledger accounts for every packet and every event. At rest Unaccounted is 0; while packets flow, counters that belong
// together may be read a moment apart.
type Ledger struct {
	Packets  Packets                     `json:"packets"`
	Sessions Sessions                    `json:"sessions"`
	Events   map[string]Events           `json:"events"` // by kind
	Sinks    map[string]map[string]Queue `json:"sinks"`  // by sink and kind
	// Unread is how many events of sources of events were lost before they could be read, at most. They are in none of Events.
	Unread uint64 `json:"unread"`
	// Unaccounted adds up by how much the sums documented at the fields miss.
	Unaccounted uint64 `json:"unaccounted"`
}

// Packets is what became of packets: Received = Forwarded + Dropped + Passed + Refused + NotSent. Those that a source has carried by
// itself are in the sums.
type Packets struct {
	Received  uint64            `json:"received"`
	Bytes     uint64            `json:"bytes"`
	Forwarded uint64            `json:"forwarded"` // sent on by the source: a bridge
	Dropped   uint64            `json:"dropped"`   // by a hook's verdict (in a tap or a capture: would have been)
	Passed    uint64            `json:"passed"`    // looked at and let go
	Refused   uint64            `json:"refused"`   // not decodable
	NotSent   uint64            `json:"not_sent"`  // let through by a bridge, which had no room for it or no interface that was up
	Lost      uint64            `json:"lost"`      // beside Received: before they could be read
	Bypassed  uint64            `json:"bypassed"`  // beside Received: sent on by a bridge, and read by nobody
	DroppedAt map[string]uint64 `json:"dropped_at"`
	RefusedAs map[string]uint64 `json:"refused_as"` // by cause
	NotIP     uint64            `json:"not_ip"`     // of Passed, in a bridge of Forwarded and NotSent: frames that are neither IPv4 nor IPv6
	ByZone    map[string]uint64 `json:"by_zone"`    // of Received: IP packets that a worker has seen, by the zone they come from, without zones that had none
	Offloaded uint64            `json:"offloaded"`  // of Passed, in a bridge of Forwarded or NotSent: of sessions that the source has carried by itself
	Orphans   uint64            `json:"orphan_fragments"`
	Strays    uint64            `json:"strays"`
	// OutOfState is of Dropped: TCP without a SYN and other answers that belong to no session.
	OutOfState uint64 `json:"out_of_state"`
	// Unkept is of Passed: answers to packets whose session found the table full.
	Unkept uint64 `json:"unkept_answers"`
}

// Sessions is what became of sessions: Created + TakenOver = Closed + Active.
type Sessions struct {
	Active    uint64 `json:"active"`
	Created   uint64 `json:"created"`
	TakenOver uint64 `json:"taken_over"` // from the run before this one
	Closed    uint64 `json:"closed"`
	Withdrawn uint64 `json:"withdrawn"`  // of Closed: denied by policies that a reload has brought
	GivenUp   uint64 `json:"given_up"`   // of Closed: unanswered sessions that made room in a full table
	Full      uint64 `json:"table_full"` // not created because the table was full
}

// Events is what the gate did with the events of a kind: Offered = RateLimited + Admitted.
type Events struct {
	Offered     uint64 `json:"offered"`
	RateLimited uint64 `json:"rate_limited"`
	Admitted    uint64 `json:"admitted"`
}

// Queue is what became of the admitted events of a kind at one sink: admitted = Absent + Filtered + Queued +
// OverBudget + Disconnected + Closed, and Queued + TakenOver = Acknowledged + Rejected + Evicted + Abandoned + Kept + InFlight. Loss records are made
// at the sink: only the second sum holds for them. With a spool, Spool.Spooled stands for Acknowledged + Rejected in it.
type Queue struct {
	Absent       uint64 `json:"absent"` // admitted while the sink was not configured
	Filtered     uint64 `json:"filtered"`
	Queued       uint64 `json:"queued"`
	OverBudget   uint64 `json:"over_budget"`
	Disconnected uint64 `json:"disconnected"` // as OverBudget, while the sink had no destination
	Closed       uint64 `json:"closed"`
	Acknowledged uint64 `json:"acknowledged"`
	Rejected     uint64 `json:"rejected"`
	Evicted      uint64 `json:"evicted"`
	Abandoned    uint64 `json:"abandoned"`
	Kept         uint64 `json:"kept"` // for the next run
	InFlight     uint64 `json:"in_flight"`
	TakenOver    uint64 `json:"taken_over"` // from the run before this one, which has kept them

	Spool *Spool `json:"spool,omitempty"` // nil: the sink has none
}

// Spool is what became of the records of a kind in the spool of a sink: Found + Spooled = Unspooled + Held + Left, and Unspooled =
// Acknowledged + Rejected (of the sink) + Evicted + Damaged.
type Spool struct {
	Found     uint64 `json:"found"` // of earlier runs; of loss records also those that the spool has made
	Spooled   uint64 `json:"spooled"`
	Unspooled uint64 `json:"unspooled"`
	Evicted   uint64 `json:"evicted"` // given up for newer ones
	Damaged   uint64 `json:"damaged"` // cannot be read any more
	Held      uint64 `json:"held"`
	Left      uint64 `json:"left"` // in it when the sink was removed; the next sink that has it finds them
}

// loss is the kind whose records are made at the sinks.
const loss = "loss"

// Check computes Unaccounted.
func (l *Ledger) Check() {
	diff := func(a, b uint64) uint64 { return max(a, b) - min(a, b) }
	p := &l.Packets
	sum := diff(p.Received, p.Forwarded+p.Dropped+p.Passed+p.Refused+p.NotSent)
	sum += diff(l.Sessions.Created+l.Sessions.TakenOver, l.Sessions.Closed+l.Sessions.Active)
	for _, e := range l.Events {
		sum += diff(e.Offered, e.RateLimited+e.Admitted)
	}
	for _, kinds := range l.Sinks {
		for kind, q := range kinds {
			if kind != loss {
				sum += diff(l.Events[kind].Admitted, q.Absent+q.Filtered+q.Queued+q.OverBudget+q.Disconnected+q.Closed)
			}
			taken := q.Acknowledged + q.Rejected
			if s := q.Spool; s != nil {
				sum += diff(s.Unspooled, taken+s.Evicted+s.Damaged) + diff(s.Found+s.Spooled, s.Unspooled+s.Held+s.Left)
				taken = s.Spooled
			}
			sum += diff(q.Queued+q.TakenOver, taken+q.Evicted+q.Abandoned+q.Kept+q.InFlight)
		}
	}
	l.Unaccounted = sum
}

// WriteText writes the ledger for people. kinds gives the order of the kinds.
func (l *Ledger) WriteText(w io.Writer, kinds []string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	p := &l.Packets
	fmt.Fprintf(t, "packets\treceived\tforwarded\tdropped\tpassed\trefused\tnot sent\t\n")
	fmt.Fprintf(t, "\t%d\t%d\t%d\t%d\t%d\t%d\t\n", p.Received, p.Forwarded, p.Dropped, p.Passed, p.Refused, p.NotSent)
	fmt.Fprintf(t, "sessions\tcreated\tclosed\tactive\tgiven up\ttable full\t\n")
	fmt.Fprintf(t, "\t%d\t%d\t%d\t%d\t%d\t\n", l.Sessions.Created, l.Sessions.Closed, l.Sessions.Active, l.Sessions.GivenUp, l.Sessions.Full)
	fmt.Fprintf(t, "events\toffered\trate limited\tadmitted\t\n")
	for _, k := range kinds {
		if e := l.Events[k]; k != loss {
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\t\n", k, e.Offered, e.RateLimited, e.Admitted)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Sinks)) {
		fmt.Fprintf(t, "sink %s\tqueued\tacknowledged\tfiltered\tover budget\tdisconnected\tother\tin flight\t\n", terminal.Text(name))
		for _, k := range kinds {
			q := l.Sinks[name][k]
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", k, q.Queued, q.Acknowledged, q.Filtered, q.OverBudget, q.Disconnected,
				q.Absent+q.Closed+q.Rejected+q.Evicted+q.Abandoned+q.Kept, q.InFlight)
		}
	}
	l.writeSpools(t, kinds)
	if err := t.Flush(); err != nil {
		return err
	}
	if refused := refusals(p.RefusedAs); refused != "" {
		if _, err := fmt.Fprintf(w, "%s%s\n", refusedTitle, refused); err != nil {
			return err
		}
	}
	if p.Offloaded > 0 {
		if _, err := fmt.Fprintf(w, "%d packets were offloaded: the source has carried them by itself\n", p.Offloaded); err != nil {
			return err
		}
	}
	if n := l.Sessions.Withdrawn; n > 0 {
		if _, err := fmt.Fprintf(w, "%d sessions were ended because the policies of a reload deny them\n", n); err != nil {
			return err
		}
	}
	if p.Lost > 0 {
		if _, err := fmt.Fprintf(w, "%d packets were lost before they could be read\n", p.Lost); err != nil {
			return err
		}
	}
	if p.Bypassed > 0 {
		if _, err := fmt.Fprintf(w, "%d packets went past, and nobody judged them\n", p.Bypassed); err != nil {
			return err
		}
	}
	if l.Unread > 0 {
		if _, err := fmt.Fprintf(w, "up to %d events were lost before they could be read\n", l.Unread); err != nil {
			return err
		}
	}
	if sessions, records := l.Sessions.TakenOver, l.takenOver(); sessions+records > 0 {
		if _, err := fmt.Fprintf(w, "%d sessions and %d records of the run before are among these\n", sessions, records); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d unaccounted for\n", l.Unaccounted)
	return err
}

// takenOver returns how many records the sinks have of the run before.
func (l *Ledger) takenOver() (n uint64) {
	for _, kinds := range l.Sinks {
		for _, q := range kinds {
			n += q.TakenOver
		}
	}
	return n
}

// writeSpools writes what became of records in the spools, where there are any.
func (l *Ledger) writeSpools(w io.Writer, kinds []string) {
	for _, name := range slices.Sorted(maps.Keys(l.Sinks)) {
		title := false
		for _, k := range kinds {
			s := l.Sinks[name][k].Spool
			if s == nil {
				continue
			}
			if !title {
				fmt.Fprintf(w, "spool of %s\tfound\tspooled\tunspooled\tevicted\tdamaged\theld\tleft\t\n", terminal.Text(name))
				title = true
			}
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", k, s.Found, s.Spooled, s.Unspooled, s.Evicted, s.Damaged, s.Held, s.Left)
		}
	}
}

const (
	refusedTitle = "refused packets: "
	// lineWidth is how many columns a line of the ledger has at most.
	lineWidth = 100
)

// refusals lists the causes of refused packets and their numbers behind refusedTitle, on as many lines as it takes.
func refusals(by map[string]uint64) string {
	var b strings.Builder
	column := len(refusedTitle)
	for _, cause := range slices.Sorted(maps.Keys(by)) {
		n := by[cause]
		if n == 0 {
			continue
		}
		part := fmt.Sprintf("%s %d", terminal.Text(cause), n)
		switch {
		case b.Len() == 0:
		case column+len(", ")+len(part)+len(",") > lineWidth:
			b.WriteString(",\n" + strings.Repeat(" ", len(refusedTitle)))
			column = len(refusedTitle)
		default:
			b.WriteString(", ")
			column += len(", ")
		}
		b.WriteString(part)
		column += len(part)
	}
	return b.String()
}
