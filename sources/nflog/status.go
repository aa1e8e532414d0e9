package nflog

import "github.com/rtflow/pipelined/core/source"

// plugged is a Source as the pipeline sees it.
type plugged struct{ *Source }

var _ source.Events = plugged{}

func (p plugged) Stream() source.EventStream { return p.Source }

// Status is the source for its operator.
type Status struct {
	Groups   []GroupStatus `json:"groups"`
	Prefixes int64         `json:"prefixes"` // different ones so far
	Buffer   int           `json:"buffer"`   // bytes that the kernel has granted
	Overruns uint64        `json:"overruns"` // how often it was full
	Lost     uint64        `json:"lost"`     // packets, of all groups
}

// GroupStatus is one group: its packets by what the rules did, or why they are not told of.
type GroupStatus struct {
	Group    uint16 `json:"group"`
	Denied   uint64 `json:"denied"`
	Rejected uint64 `json:"rejected"`
	Accepted uint64 `json:"accepted"`
	Logged   uint64 `json:"logged"`
	NotIP    uint64 `json:"not_ip,omitempty"`
	NoHeader uint64 `json:"no_header,omitempty"`
	Missing  uint64 `json:"missing,omitempty"` // packets that its sequence leaves out
}

// Status returns a [Status].
func (s *Source) Status() any {
	status := Status{
		Prefixes: s.prefixes.count.Load(), Buffer: s.buffer, Overruns: s.losses.overruns.Load(), Lost: s.losses.told.Load(),
	}
	for i := range s.groups {
		status.Groups = append(status.Groups, s.groups[i].status())
	}
	return status
}

func (g *group) status() GroupStatus {
	return GroupStatus{
		Group: g.number, Denied: g.outcomes[denied].Load(), Rejected: g.outcomes[rejected].Load(), Accepted: g.outcomes[accepted].Load(),
		Logged: g.outcomes[logged].Load(), NotIP: g.notIP.Load(), NoHeader: g.noHeader.Load(), Missing: g.missing.Load(),
	}
}

// Counters returns what was read, and what was lost.
func (s *Source) Counters() []source.Counter {
	var sum GroupStatus
	for i := range s.groups {
		g := s.groups[i].status()
		sum.Denied += g.Denied
		sum.Rejected += g.Rejected
		sum.Accepted += g.Accepted
		sum.Logged += g.Logged
		sum.NotIP += g.NotIP
		sum.NoHeader += g.NoHeader
	}
	return []source.Counter{
		{Name: "messages", Queue: -1, Value: s.messages.Load()},
		{Name: "denied", Queue: -1, Value: sum.Denied},
		{Name: "rejected", Queue: -1, Value: sum.Rejected},
		{Name: "accepted", Queue: -1, Value: sum.Accepted},
		{Name: "logged", Queue: -1, Value: sum.Logged},
		{Name: "not_ip", Queue: -1, Value: sum.NotIP},
		{Name: "no_header", Queue: -1, Value: sum.NoHeader},
		{Name: "malformed", Queue: -1, Value: s.malformed.Load()},
		{Name: "skipped", Queue: -1, Value: s.socket.Skipped()},
		{Name: "lost", Queue: -1, Value: s.losses.told.Load(), Lost: true},
		{Name: "overruns", Queue: -1, Value: s.losses.overruns.Load()},
		{Name: "prefixes", Queue: -1, Value: uint64(s.prefixes.count.Load())},
		{Name: "other_prefixes", Queue: -1, Value: s.prefixes.overflow.Load()},
	}
}
