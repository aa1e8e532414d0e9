package xdp

import (
	"fmt"
	"time"

	"github.com/rtflow/pipelined/xsk"
)

// Condition is what a source is doing.
type Condition string

// Conditions.
const (
	Up      Condition = "up"
	Down    Condition = "down"                  // the interface is off or has no carrier; it recovers by itself
	Waiting Condition = "waiting for interface" // it is gone, or cannot be opened: see State.Error
	Closed  Condition = "closed"
)

// State describes a source for its operator.
type State struct {
	Interface string    `json:"interface"`
	Renamed   string    `json:"renamed,omitempty"` // what it is called now: it is read all the same
	Peer      string    `json:"peer,omitempty"`    // of a bridge: the interface by which its packets leave
	Condition Condition `json:"condition"`
	Since     time.Time `json:"since"`           // when the condition began
	Error     string    `json:"error,omitempty"` // while waiting: why the last attempt failed
	Reopened  uint64    `json:"reopened"`        // how often the interface was opened again

	// The rest is of the interface as it was opened last.

	Mode      string   `json:"mode"` // "native" or "generic"
	ZeroCopy  bool     `json:"zero_copy"`
	Index     int      `json:"index"` // the kernel's
	MTU       int      `json:"mtu"`
	FrameSize int      `json:"frame_size"`
	Several   bool     `json:"several_buffers"` // a packet that is longer than a buffer takes several
	Queues    int      `json:"queues"`          // receive queues that are read
	Notes     []string `json:"notes,omitempty"`

	// Of a bridge.

	OnFailure string `json:"on_failure,omitempty"` // "open" or "closed"
	Pinned    string `json:"pinned,omitempty"`     // where its program is, so that it outlives the daemon
	Bypass    bool   `json:"bypass,omitempty"`     // by hand: every frame goes past
	// PeerHeldDown is set while the interface of the peer is switched off, since this one has no carrier.
	PeerHeldDown bool `json:"peer_held_down,omitempty"`
}

// Stats counts packets since the source was opened, over all times that it was opened again.
type Stats struct {
	Program xsk.Counters
	Queues  []xsk.Stats // by receive queue
}

// State returns the present state. Safe for concurrent use.
func (s *Source) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.state
	if s.peer != nil {
		state.Peer, state.PeerHeldDown = s.peer.config.Device.Interface, s.holding
	}
	if s.device != nil {
		state.Bypass = s.device.Bypassed()
		state.Notes = s.device.Notes()
		if s.config.Flows > 0 && s.flows == nil {
			state.Notes = append(state.Notes,
				"all packets go through user space, none are offloaded: that needs CAP_PERFMON (AmbientCapabilities= and CapabilityBoundingSet= of the unit)")
		}
	}
	return state
}

// Stats returns the counters; with an error, those that could be read. Safe for concurrent use.
func (s *Source) Stats() (Stats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.device == nil {
		return s.past.plus(Stats{}), nil
	}
	present, err := deviceStats(s.device)
	if err != nil {
		err = fmt.Errorf("statistics of %s: %w", s.state.Interface, err)
	}
	return s.past.plus(present), err
}

func deviceStats(device *xsk.Interface) (Stats, error) {
	var stats Stats
	var err error
	stats.Program, err = device.Counters()
	for _, socket := range device.Queues() {
		one, oneErr := socket.Stats()
		if oneErr != nil {
			err = oneErr
		}
		stats.Queues = append(stats.Queues, one)
	}
	return stats, err
}

// plus adds, into memory of its own.
func (a Stats) plus(b Stats) Stats {
	sum := Stats{Program: a.Program.Plus(b.Program), Queues: make([]xsk.Stats, max(len(a.Queues), len(b.Queues)))}
	for _, queues := range [][]xsk.Stats{a.Queues, b.Queues} {
		for i, q := range queues {
			sum.Queues[i] = sum.Queues[i].Plus(q)
		}
	}
	return sum
}
