package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/rtflow/pipelined/core/control"
	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// Bounds of what browsers get.
const (
	// maxStreams is how many browsers may look at events at a time. It leaves some watchers of the tail to the control socket.
	maxStreams = tail.MaxWatchers * 3 / 4
	// beat is the shortest time between two messages.
	beat = 250 * time.Millisecond
	// maxRows is how many events are in a message, the newest ones.
	maxRows = 50
	// maxRules is how many rules are counted in a message; more are counted together.
	maxRules = 500
	// quiet is how long a stream may be without a message before it says that it is there.
	quiet = 10 * time.Second
	// stall is how long a browser may take nothing.
	stall = 10 * time.Second
	// again is after what time a browser comes back to a stream that has ended, in milliseconds.
	again = 2000
)

// events are what browsers are told of what the gate admits.
type events struct {
	pl      Pipeline
	streams chan struct{} // holds a token for each stream
}

func newEvents(pl Pipeline) *events {
	return &events{pl: pl, streams: make(chan struct{}, maxStreams)}
}

// message is what a stream says.
type message struct {
	Rows    []row    `json:"rows,omitempty"`     // the oldest first
	More    uint64   `json:"more,omitempty"`     // events that pass the filter, and are older than those of Rows
	LeftOut uint64   `json:"left_out,omitempty"` // events that nobody has looked at: too many at a time
	Denied  []denial `json:"denied,omitempty"`   // whether they pass the filter or not
	Notes   []string `json:"notes,omitempty"`    // what is odd about the filter
	Refused string   `json:"refused,omitempty"`  // what is wrong with it; the stream ends
	Busy    bool     `json:"busy,omitempty"`     // too many look already; the stream ends
}

// denial is how many packets a rule has denied.
type denial struct {
	Kind string `json:"kind"`
	Rule string `json:"rule"`
	Term string `json:"term,omitempty"`
	N    uint64 `json:"n"`
}

// serve answers with server-sent events: messages about what is admitted from now on. The parameters are those of [control.EventQuery].
// An EventSource shows no script what a refusal says, so that mistakes are told in a stream, too.
func (e *events) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no") // of a proxy
	s := stream{w: w}
	filter, notes, err := control.ReadFilter(r.URL.Query(), e.pl.LatestNames())
	if err != nil {
		_ = s.send(&message{Refused: err.Error()}) // an error means that the browser has gone
		return
	}
	select {
	case e.streams <- struct{}{}:
		defer func() { <-e.streams }()
	default:
		_ = s.send(&message{Busy: true}) // the same
		return
	}
	watcher, err := e.pl.Tail().Watch()
	if err != nil {
		_ = s.send(&message{Busy: true}) // the same
		return
	}
	defer watcher.Close()
	if err := s.send(&message{Notes: notes}); err != nil {
		return
	}
	encoder, err := format.New(format.Options{Format: format.Text})
	if err != nil {
		_ = s.send(&message{Refused: err.Error()}) // the same
		return
	}
	g := gathering{filter: filter, encoder: encoder, names: e.pl.Names}
	for {
		wait := quiet
		if !g.empty() {
			wait = beat
		}
		ctx, cancel := context.WithDeadline(r.Context(), s.sent.Add(wait))
		batch, err := watcher.Next(ctx)
		cancel()
		if r.Context().Err() != nil {
			return // the browser has gone
		}
		if err == nil {
			g.add(&batch)
		}
		switch since := time.Since(s.sent); {
		case !g.empty() && since >= beat:
			err = s.send(g.take())
		case since >= quiet:
			err = s.write([]byte(": still here\n\n"))
		default:
			continue
		}
		if err != nil {
			return // the browser has gone, or takes nothing
		}
	}
}

// stream writes to a browser.
type stream struct {
	w    http.ResponseWriter
	sent time.Time // when the last message was
}

func (s *stream) send(m *message) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return s.write(fmt.Appendf(nil, "retry: %d\ndata: %s\n\n", again, text))
}

func (s *stream) write(text []byte) error {
	rc := http.NewResponseController(s.w)
	// The end of a request's time to arrive would end the answer as well.
	if err := errors.Join(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Now().Add(stall))); err != nil {
		return err
	}
	if _, err := s.w.Write(text); err != nil {
		return err
	}
	err := rc.Flush()
	s.sent = time.Now()
	return err
}

// rule tells rules apart without their names, which are looked up once a message.
type rule struct {
	kind       event.Kind
	screen     event.Screen
	generation uint32
	id, term   uint32
}

// gathering collects what the next message says.
type gathering struct {
	filter  *tail.Filter
	encoder format.Encoder
	names   func(generation uint32) *event.Names

	records []event.Record // that pass the filter, as a ring once it is full
	oldest  int            // in records
	more    uint64
	leftOut uint64
	denied  map[rule]uint64
	others  uint64 // of rules that denied had no room for
	line    []byte
}

func (g *gathering) empty() bool {
	return len(g.records) == 0 && g.leftOut == 0 && len(g.denied) == 0
}

func (g *gathering) add(b *tail.Batch) {
	g.leftOut += b.LeftOut
	var names *event.Names
	for i := range b.Records {
		rec := &b.Records[i]
		if names == nil || rec.Generation != names.Generation {
			names = g.names(rec.Generation)
		}
		g.count(rec)
		switch {
		case !g.filter.Match(rec, names):
		case len(g.records) < maxRows:
			g.records = append(g.records, *rec)
		default:
			g.records[g.oldest] = *rec
			g.oldest = (g.oldest + 1) % maxRows
			g.more++
		}
	}
}

// count counts a record at its rule, if that has denied a packet.
func (g *gathering) count(rec *event.Record) {
	key := rule{kind: rec.Kind(), generation: rec.Generation}
	switch key.kind {
	case event.SessionOpen, event.SessionClose, event.Loss:
		return
	}
	if rec.Action() == event.ActionPermit { // an alarm, or a filter that logs what it accepts
		return
	}
	switch key.kind {
	case event.PolicyDeny:
		key.id = rec.Policy()
	case event.ScreenDrop:
		key.screen = rec.Screen()
	default:
		key.id, key.term = rec.Filter(), rec.Term()
	}
	if g.denied == nil {
		g.denied = make(map[rule]uint64)
	}
	if _, known := g.denied[key]; !known && len(g.denied) >= maxRules {
		g.others++
		return
	}
	g.denied[key]++
}

// take returns the message about what was gathered, and begins anew.
func (g *gathering) take() *message {
	m := &message{More: g.more, LeftOut: g.leftOut}
	for i := range g.records {
		rec := &g.records[(g.oldest+i)%len(g.records)]
		m.Rows = append(m.Rows, g.row(rec, g.names(rec.Generation)))
	}
	for key, n := range g.denied {
		d := denial{Kind: key.kind.String(), N: n}
		names := g.names(key.generation)
		switch key.kind {
		case event.PolicyDeny:
			d.Rule = names.Policy(key.id)
		case event.ScreenDrop:
			d.Rule = key.screen.String()
		default:
			d.Rule, d.Term = names.Term(key.id, key.term)
		}
		m.Denied = append(m.Denied, d)
	}
	slices.SortFunc(m.Denied, func(a, b denial) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Term, b.Term))
	})
	if g.others > 0 {
		m.Denied = append(m.Denied, denial{Rule: "other rules", N: g.others})
	}
	g.records, g.oldest, g.more, g.leftOut, g.others = g.records[:0], 0, 0, 0, 0
	clear(g.denied)
	return m
}
