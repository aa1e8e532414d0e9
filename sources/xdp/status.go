package xdp

import (
	"fmt"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/xsk"
)

// plugged is a Source as the pipeline sees it.
type plugged struct{ *Source }

var (
	_ source.Paired = plugged{}
	_ source.Blind  = plugged{}
)

// Blind returns an error if the interface is not up, or is bypassed.
func (p plugged) Blind() error {
	switch s := p.State(); s.Condition {
	case Up:
		if s.Bypass {
			return fmt.Errorf("bypass is on: every frame of %s goes past, unread", s.Interface)
		}
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
		queues = append(queues, q.frameSource(p.config.Device.Bridge))
	}
	return queues
}

func (p plugged) Status() any {
	stats, err := p.Stats()
	status := struct {
		State
		Kernel     xsk.Counters   `json:"kernel"`
		Sockets    []xsk.Stats    `json:"sockets"`
		Bridge     []ForwardStats `json:"bridge,omitempty"` // by worker
		Offload    *xsk.FlowStats `json:"offload,omitempty"`
		StatsError string         `json:"stats_error,omitempty"`
	}{State: p.State(), Kernel: stats.Program, Sockets: stats.Queues, Bridge: p.forwarded()}
	if p.flows != nil {
		f := p.flows.Stats()
		status.Offload = &f
	}
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
	if p.flows != nil {
		f := p.flows.Stats()
		counters = append(counters,
			source.Counter{Name: "carried", Queue: -1, Value: k.Carried},
			source.Counter{Name: "carried_bytes", Queue: -1, Value: k.CarriedBytes},
			source.Counter{Name: "carried_not_sent", Queue: -1, Value: k.CarriedNotSent},
			source.Counter{Name: "flows_added", Queue: -1, Value: f.Added},
			source.Counter{Name: "flows_full", Queue: -1, Value: f.Full},
		)
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
			source.Counter{Name: "rx_unread", Queue: i, Value: q.RxUnread, Lost: true},
			source.Counter{Name: "fill_ring_empty", Queue: i, Value: q.FillRingEmpty},
		)
		if t := &q.Transmit; p.config.Device.Bridge {
			counters = append(counters,
				source.Counter{Name: "sent", Queue: i, Value: t.Sent},
				source.Counter{Name: "sent_bytes", Queue: i, Value: t.Bytes},
				source.Counter{Name: "tx_no_room", Queue: i, Value: t.NoRoom},
				source.Counter{Name: "tx_too_long", Queue: i, Value: t.TooLong},
				source.Counter{Name: "tx_down", Queue: i, Value: t.Down},
				source.Counter{Name: "tx_unsent", Queue: i, Value: t.Unsent},
				source.Counter{Name: "tx_wakeups", Queue: i, Value: t.Wakeups},
				source.Counter{Name: "tx_invalid_descriptors", Queue: i, Value: t.InvalidDescs},
			)
		}
	}
	for i, f := range p.forwarded() {
		counters = append(counters,
			source.Counter{Name: "not_sent", Queue: i, Value: f.NotSent},
			source.Counter{Name: "peer_away", Queue: i, Value: f.PeerAway},
			source.Counter{Name: "answers", Queue: i, Value: f.Answers},
			source.Counter{Name: "answers_limited", Queue: i, Value: f.AnswersLimited},
			source.Counter{Name: "answers_not_sent", Queue: i, Value: f.AnswersNotSent},
		)
	}
	if p.config.Device.Bridge {
		counters = append(counters,
			source.Counter{Name: "pass_type", Queue: -1, Value: k.PassType},
			source.Counter{Name: "link_propagated", Queue: -1, Value: p.propagated.Load()},
			source.Counter{Name: "past_no_socket", Queue: -1, Value: k.PastNoSocket},
			source.Counter{Name: "past_stalled", Queue: -1, Value: k.PastStalled},
			source.Counter{Name: "past_by_hand", Queue: -1, Value: k.PastByHand},
			source.Counter{Name: "past_sent", Queue: -1, Value: k.PastSent, Bypassed: true},
			source.Counter{Name: "past_not_sent", Queue: -1, Value: k.PastNotSent, Lost: true},
			source.Counter{Name: "unread_dropped", Queue: -1, Value: k.Dropped, Lost: true},
		)
	}
	return counters
}

// forwarded returns the counters of the queues of a bridge; none of a tap.
func (p plugged) forwarded() (list []ForwardStats) {
	for _, q := range p.queues {
		if q.forwarding != nil {
			list = append(list, q.forwarding.stats())
		}
	}
	return list
}
