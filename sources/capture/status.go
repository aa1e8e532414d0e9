package capture

import "github.com/rtflow/pipelined/core/source"

// plugged is a Source as the pipeline sees it: with one queue.
type plugged struct{ *Source }

var _ source.Frames = plugged{}

func (p plugged) Queues() []source.FrameSource { return []source.FrameSource{p.Source} }

func (p plugged) Status() any { return p.Stats() }

func (p plugged) Counters() []source.Counter {
	st := p.Stats()
	return []source.Counter{
		{Name: "packets", Queue: -1, Value: st.Packets},
		{Name: "bytes", Queue: -1, Value: st.Bytes},
		{Name: "out_of_order", Queue: -1, Value: st.OutOfOrder},
		{Name: "clock_set_back", Queue: -1, Value: st.ClockSetBack},
		{Name: "other_link_type", Queue: -1, Value: st.OtherLinkType},
		{Name: "trailing_garbage", Queue: -1, Value: st.TrailingGarbage},
	}
}
