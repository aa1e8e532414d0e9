package web

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/pipeline"
)

// fresh is how old a state may be that a browser gets. They ask once a second.
const fresh = 900 * time.Millisecond

// state is what browsers draw. It is read when one asks and the last one is too old, so that more browsers cost no more readings.
type state struct {
	Options

	pl Pipeline

	mu   sync.Mutex
	at   time.Time
	body []byte
}

func newState(pl Pipeline, o Options) *state { return &state{Options: o, pl: pl} }

// picture is a state as JSON. Numbers only grow within a run of the daemon, which keeps its epoch with kept state, but for those of sessions, sinks and the configuration: a browser makes rates
// of two pictures.
type picture struct {
	At       int64   `json:"at"` // when it was read: Unix ms
	Node     string  `json:"node"`
	Version  string  `json:"version"`
	Epoch    uint64  `json:"epoch,string"`
	Uptime   float64 `json:"uptime"` // seconds
	Stopping bool    `json:"stopping"`
	Login    bool    `json:"login"`  // there is a token, and so something to log out of
	Sick     string  `json:"sick"`   // why it is not healthy
	Losing   string  `json:"losing"` // what is being lost

	Configuration int            `json:"configuration"` // its number
	Refused       string         `json:"refused"`       // why the last one was not taken
	Shape         pipeline.Shape `json:"shape"`
	Ledger        metrics.Ledger `json:"ledger"`

	Sources map[string]sourcePicture `json:"sources"`
	Sinks   map[string]sinkPicture   `json:"sinks"`
}

// sourcePicture is what a source has read.
type sourcePicture struct {
	Read     uint64 `json:"read"` // packets, or messages of the kernel
	Lost     uint64 `json:"lost"`
	Bypassed uint64 `json:"bypassed"`
}

type sinkPicture struct {
	Up       bool      `json:"up"`
	Phase    string    `json:"phase"`
	Runs     uint64    `json:"runs"`
	Lag      float64   `json:"lag"` // seconds
	InFlight uint64    `json:"in_flight"`
	Error    string    `json:"error"`
	ErrorAt  time.Time `json:"error_at,omitzero"`

	Spool *spoolPicture `json:"spool,omitempty"` // absent: it has none
}

// spoolPicture is what a spool holds.
type spoolPicture struct {
	Held  uint64 `json:"held"`  // records
	Bytes int64  `json:"bytes"` // that its files take
	Size  int64  `json:"size"`  // that they may take
	Full  string `json:"full"`  // why no record fits just now
}

// serve answers with the state.
func (s *state) serve(w http.ResponseWriter, _ *http.Request) {
	body, err := s.read()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // an error means that the client has gone
}

func (s *state) read() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.body != nil && now.Sub(s.at) < fresh {
		return s.body, nil
	}
	body, err := json.Marshal(s.picture(now))
	if err != nil {
		return nil, err
	}
	s.at, s.body = now, body
	return body, nil
}

func (s *state) picture(now time.Time) *picture {
	snapshot, status := s.pl.Snapshot(), s.pl.Status()
	p := &picture{
		At: now.UnixMilli(), Node: s.Hostname, Version: s.Version, Epoch: status.Epoch, Uptime: status.Uptime, Stopping: status.Stopping,
		Login: s.Token != "",
		Sick:  text(s.pl.Health()), Losing: text(s.pl.Losses()),
		Configuration: status.Configuration.Number, Refused: status.Configuration.Refused,
		Shape: s.pl.Shape(), Ledger: status.Ledger,
		Sources: make(map[string]sourcePicture), Sinks: make(map[string]sinkPicture),
	}
	for name, counters := range snapshot.Sources {
		var sum sourcePicture
		for _, c := range counters {
			switch {
			case c.Lost:
				sum.Lost += c.Value
			case c.Bypassed:
				sum.Bypassed += c.Value
			case c.Name == "received" || c.Name == "packets" || c.Name == "messages": // of interfaces, captures, the kernel
				sum.Read += c.Value
			}
		}
		p.Sources[name] = sum
	}
	for name, sink := range status.Sinks {
		shown := sinkPicture{
			Up: sink.Up, Phase: string(sink.Phase), Runs: sink.Runs, Lag: sink.LagSeconds, InFlight: sink.InFlight,
			Error: sink.LastError, ErrorAt: sink.ErrorAt,
		}
		if sp := sink.Spool; sp != nil {
			shown.Spool = &spoolPicture{Held: sp.Held, Bytes: sp.Bytes, Size: sp.Size, Full: sp.Full}
		}
		p.Sinks[name] = shown
	}
	return p
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
