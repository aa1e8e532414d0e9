package xdp

import (
	"fmt"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/xsk"
)

// plugged is a Source as the pipeline sees it.
type plugged struct{ *Source }

var (
	_ source.Frames = plugged{}
	_ source.Blind  = plugged{}
)

// Blind returns an error if the interface is not up.
func (p plugged) Blind() error {
	switch s := p.State(); s.Condition {
	case Up:
		return nil
	case Waiting:
		return fmt.Errorf("interface %s is gone or cannot be opened", s.Interface)
	default:
		return fmt.Errorf("interface %s is %s", s.Interface, s.Condition)
	}
}

func (p plugged) Queues() []source.FrameSource {
	var queues []source.FrameSource
	for _, q := range p.Source.Queues() {
		queues = append(queues, q)
	}
	return queues
}

func (p plugged) Status() any {
	stats, err := p.Stats()
	status := struct {
		State
		Kernel     xsk.Counters `json:"kernel"`
		Sockets    []xsk.Stats  `json:"sockets"`
		StatsError string       `json:"stats_error,omitempty"`
	}{State: p.State(), Kernel: stats.Program, Sockets: stats.Queues}
	if err != nil {
		status.StatsError = err.Error()
	}
	return status
}

// Counters returns what could be read: a counter that could not keeps its last value at the scraper.
func (p plugged) Counters() []source.Counter {
	stats, _ := p.Stats() // the error is in the status
	k := &stats.Program
	counters := []source.Counter{
		{Name: "redirected", Queue: -1, Value: k.Redirected},
		{Name: "pass_not_ip", Queue: -1, Value: k.PassNotIP},
		{Name: "pass_port", Queue: -1, Value: k.PassPort},
		{Name: "pass_neighbour", Queue: -1, Value: k.PassNeighbour},
		{Name: "pass_no_socket", Queue: -1, Value: k.PassNoSocket},
		{Name: "reopened", Queue: -1, Value: p.State().Reopened},
	}
	for i := range stats.Queues {
		q := &stats.Queues[i]
		counters = append(counters,
			source.Counter{Name: "received", Queue: i, Value: q.Received},
			source.Counter{Name: "bytes", Queue: i, Value: q.Bytes},
			source.Counter{Name: "malformed_descriptors", Queue: i, Value: q.Malformed},
			source.Counter{Name: "wakeups", Queue: i, Value: q.Wakeups},
			source.Counter{Name: "rx_dropped", Queue: i, Value: q.RxDropped, Lost: true},
			source.Counter{Name: "rx_invalid_descriptors", Queue: i, Value: q.RxInvalidDescs},
			source.Counter{Name: "rx_ring_full", Queue: i, Value: q.RxRingFull, Lost: true},
			source.Counter{Name: "fill_ring_empty", Queue: i, Value: q.FillRingEmpty},
		)
	}
	return counters
}
