// Package summary sums up what somebody sees go by: which zones, rules, addresses and ports, in the last minute.
//
// Its memory is bounded, whatever goes by, so that counts may be too high, by no more than is said beside each; see internal/heavy. It
// knows only what it is handed: where events were left out, it says how many.
package summary

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/internal/heavy"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

const (
	// Window is how far back it looks, and a bit more than it: it forgets in parts.
	Window = time.Minute
	parts  = 6
	// places is how many keys of a list are counted in each part.
	places = 256
	// Rows is how many rows of a list a report has.
	Rows = 50
)

// Row is one line of a list.
type Row struct {
	Name  string `json:"name"`
	What  string `json:"what,omitempty"` // of a rule: the kind of its events
	Count uint64 `json:"count"`          // how often it came, at most
	Error uint64 `json:"error"`          // how many of them may not have come
	// Example is the newest event of the row, as a line of a log (RFC 5424).
	Example string `json:"example,omitempty"`
}

// Report is what is known of the window. What a list is sorted by is how often each came.
type Report struct {
	Seconds float64 `json:"seconds"`  // how long the window is, at first less than [Window]
	Seen    uint64  `json:"seen"`     // events in the window
	Denials uint64  `json:"denials"`  // of them, those that were denied or dropped
	LeftOut uint64  `json:"left_out"` // events that were left out since the beginning

	Zones []Row `json:"zones"` // that events come from
	Rules []Row `json:"rules"` // policies, screens and filters, with the kind of event
	// Of denials.
	Sources      []Row `json:"sources"`
	Destinations []Row `json:"destinations"`
	Ports        []Row `json:"ports"`
}

// Summary sums up. It is for one goroutine.
type Summary struct {
	encoder format.Encoder
	names   func(generation uint32) *event.Names
	of      *event.Names

	began   []time.Time // of each part, the newest first
	leftOut uint64

	zones        *list[string]
	rules        *list[rule]
	sources      *list[netip.Addr]
	destinations *list[netip.Addr]
	ports        *list[port]
}

type rule struct {
	name, term string
	kind       event.Kind
}

type port struct {
	proto  uint8
	number uint16
}

type list[K comparable] = heavy.Window[K, event.Record]

// New returns an empty summary that begins now. Names returns the names of a generation; hostname is that of examples, "" or one that
// lines of a log can have.
func New(names func(generation uint32) *event.Names, hostname string, now time.Time) (*Summary, error) {
	encoder, err := format.New(format.Options{Hostname: hostname})
	if err != nil {
		return nil, err
	}
	return &Summary{
		encoder: encoder, names: names, of: names(0), began: []time.Time{now},
		zones:        heavy.NewWindow[string, event.Record](parts, places),
		rules:        heavy.NewWindow[rule, event.Record](parts, places),
		sources:      heavy.NewWindow[netip.Addr, event.Record](parts, places),
		destinations: heavy.NewWindow[netip.Addr, event.Record](parts, places),
		ports:        heavy.NewWindow[port, event.Record](parts, places),
	}, nil
}

// Add adds what has gone by up to now. The records are only read.
func (s *Summary) Add(b tail.Batch, now time.Time) {
	s.turn(now)
	s.leftOut += b.LeftOut
	for i := range b.Records {
		s.add(&b.Records[i])
	}
}

// turn begins a new part when the newest is over, and as many as there would have been where nobody has asked for long.
func (s *Summary) turn(now time.Time) {
	const part = Window / parts
	over := now.Sub(s.began[0]) / part
	first := s.began[0]
	for n := max(1, over-parts+1); n <= over; n++ {
		s.began = slices.Insert(s.began, 0, first.Add(n*part))
		s.began = s.began[:min(len(s.began), parts)]
		s.zones.Turn()
		s.rules.Turn()
		s.sources.Turn()
		s.destinations.Turn()
		s.ports.Turn()
	}
}

func (s *Summary) add(r *event.Record) {
	n := s.namesOf(r)
	if r.Kind() == event.Loss {
		return
	}
	s.zones.Add(n.Zone(r.InZone()), r)
	name, term := tail.Rule(r, n)
	s.rules.Add(rule{name, term, r.Kind()}, r)
	if denied(r) {
		s.sources.Add(r.Src(), r)
		s.destinations.Add(r.Dst(), r)
		s.ports.Add(portOf(r), r)
	}
}

func (s *Summary) namesOf(r *event.Record) *event.Names {
	if r.Generation != s.of.Generation {
		s.of = s.names(r.Generation)
	}
	return s.of
}

// denied reports whether a packet did not get through, or would not have where nothing is blocked.
func denied(r *event.Record) bool { return r.Kind().Telemetry() && r.Action() != event.ActionPermit }

// Report returns what is known now.
func (s *Summary) Report(now time.Time) Report {
	s.turn(now)
	return Report{
		Seconds: now.Sub(s.began[len(s.began)-1]).Seconds(), Seen: s.zones.Total(), Denials: s.sources.Total(), LeftOut: s.leftOut,
		Zones: rows(s, s.zones, func(r *Row, name string) { r.Name = cmp.Or(name, "unknown") }),
		Rules: rows(s, s.rules, func(r *Row, key rule) {
			r.Name, r.What = cmp.Or(key.name, "none"), key.kind.String()
			if key.term != "" {
				r.Name += " " + key.term
			}
		}),
		Sources:      rows(s, s.sources, func(r *Row, a netip.Addr) { r.Name = a.String() }),
		Destinations: rows(s, s.destinations, func(r *Row, a netip.Addr) { r.Name = a.String() }),
		Ports:        rows(s, s.ports, func(r *Row, p port) { r.Name = p.String() }),
	}
}

func rows[K comparable](s *Summary, l *list[K], name func(*Row, K)) []Row {
	top := l.Top(Rows)
	out := make([]Row, len(top))
	for i := range top {
		e := &top[i]
		out[i] = Row{Count: e.Count, Error: e.Error}
		if e.Value != (event.Record{}) {
			out[i].Example = string(s.encoder.Append(nil, &e.Value, s.names(e.Value.Generation)))
		}
		name(&out[i], e.Key)
	}
	slices.SortStableFunc(out, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name), cmp.Compare(a.What, b.What))
	})
	return out
}

// portOf returns the port that a record's packet goes to. What an ICMP message has in its place is none.
func portOf(r *event.Record) port {
	if packet.IsICMP(r.Proto()) {
		return port{r.Proto(), 0}
	}
	return port{r.Proto(), r.DstPort()}
}

// String names a port as Unix does: 443/tcp. A protocol without ports has a name alone.
func (p port) String() string {
	proto := application.ProtocolText(p.proto)
	if p.number == 0 {
		return proto
	}
	return strconv.Itoa(int(p.number)) + "/" + proto
}
