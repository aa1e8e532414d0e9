package afpacket

import (
	"errors"
	"fmt"

	"github.com/rtflow/pipelined/core/source"
)

// plugged is a Source as the pipeline sees it.
type plugged struct{ *Source }

var (
	_ source.Frames = plugged{}
	_ source.Blind  = plugged{}
)

func (p plugged) Queues() []source.FrameSource {
	var queues []source.FrameSource
	for _, q := range p.Source.Queues() {
		queues = append(queues, q)
	}
	return queues
}

// Blind returns an error that names the interfaces that are not up, of optional ones those that are there and cannot be read.
func (s *Source) Blind() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, l := range s.links {
		away := l.missing || l.state.Condition == Down
		if l.state.Condition != Up && !(l.Optional && away) {
			errs = append(errs, fmt.Errorf("interface %s %s", l.Name, l.state.Condition.words()))
		}
	}
	return errors.Join(errs...)
}

// Status is the source for its operator.
type Status struct {
	Interfaces []State `json:"interfaces"`
	Workers    int     `json:"workers"`
	Direction  string  `json:"direction"`       // in, or both: as the option, which is decided here if it is not given
	Error      string  `json:"error,omitempty"` // why the kernel's counters could not be read
}

// Status returns a [Status].
func (s *Source) Status() any {
	status := Status{Interfaces: s.States(), Workers: len(s.queues), Direction: "both"}
	if s.config.Incoming {
		status.Direction = "in"
	}
	if err := s.count(); err != nil {
		status.Error = err.Error()
	}
	return status
}

// count reads the kernel's counters.
func (s *Source) count() (err error) {
	for _, q := range s.queues {
		err = errors.Join(err, q.countAll())
	}
	return err
}

// Counters returns what was received, and what the kernel had no room for. What could not be read keeps its last value.
func (s *Source) Counters() []source.Counter {
	_ = s.count() // the error is in the status
	var counters []source.Counter
	for i, q := range s.queues {
		counters = append(counters,
			source.Counter{Name: "received", Queue: i, Value: q.received.Load()},
			source.Counter{Name: "bytes", Queue: i, Value: q.bytes.Load()},
			source.Counter{Name: "malformed_packets", Queue: i, Value: q.malformed.Load()},
			source.Counter{Name: "ring_dropped", Queue: i, Value: q.dropped.Load(), Lost: true},
			source.Counter{Name: "ring_full", Queue: i, Value: q.full.Load()},
		)
	}
	return counters
}
