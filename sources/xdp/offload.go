package xdp

import (
	"errors"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/xsk"
)

// offloading is what a queue has to have packets carried by the XDP program. But for HoldAll it is for the worker's goroutine.
type offloading struct {
	flowTable
	*Queue
	settling []cameUp // packets of the last Receive, of flows that are to be carried soon; never grows
}

// cameUp is a packet that has come up, see [xsk.Flows.Settle].
type cameUp struct {
	flow  uint32
	stamp uint64
}

// flowTable is the flow table of a source, as sessions know it.
type flowTable struct{ *xsk.Flows }

var _ session.Carrier = flowTable{}

// Take implements [session.Carrier].
func (t flowTable) Take(flow uint32) session.Carried { return session.Carried(t.Flows.Take(flow)) }

// Offload adds a flow of packets of one direction, with the same VLAN tags. What the XDP program does not read is refused: packets in
// PPPoE, behind MPLS labels, with more than two tags, or with extension headers.
func (o *offloading) Offload(h *packet.Headers) (flow uint32) {
	const ethernet, tag, ipv4, ipv6 = 14, 4, 20, 40
	l3, header := ethernet, ipv4
	for _, id := range [...]uint16{h.VLAN, h.InnerVLAN} {
		if id != 0 {
			l3 += tag
		}
	}
	if h.Family == packet.IPv6 {
		header = ipv6
	}
	if int(h.L3) != l3 || int(h.L4) != l3+header {
		return 0
	}
	key := xsk.NewFlowKey((*[16]byte)(&h.Src), (*[16]byte)(&h.Dst), h.Family == packet.IPv4, h.SrcPort, h.DstPort, h.Proto,
		[2]uint16{h.VLAN, h.InnerVLAN})
	return o.Add(&key)
}

// CameUp implements [source.Offloader].
func (o *offloading) CameUp(flow uint32, frame int) {
	if stamp := o.Flows.CameUp(flow, &o.views[frame]); stamp != 0 {
		o.settling = append(o.settling, cameUp{flow, stamp})
	}
}

// settle begins to carry the flows of which no packet is on its way any more. The frames of the last Receive were sent, unless the kernel
// did not take them yet.
func (o *offloading) settle() {
	if o.forwarding == nil || o.forwarding.unsent[byPeer] == nil {
		for _, s := range o.settling {
			o.Settle(s.flow, s.stamp)
		}
	}
	o.settling = o.settling[:0]
}

// carry tells the programs of both sources of a bridge whether frames of flows can go straight to the other interface. It is called when
// something about one of the interfaces has changed, and now and then, since no message tells what a driver takes.
func (s *Source) carry() {
	if s.flows == nil || !s.config.Device.Bridge {
		return
	}
	s.mu.Lock()
	peer := s.peer
	s.mu.Unlock()
	if peer == nil {
		return
	}
	s.carryTo(peer)
	if peer.flows != nil {
		peer.carryTo(s)
	}
}

// carryTo is one direction of carry.
func (s *Source) carryTo(peer *Source) {
	from := s.present()
	if from == nil {
		return
	}
	var link xsk.Link
	if to := peer.present(); to != nil {
		link = to.Link()
	}
	var err error
	if nsErr := s.namespace.Run(func() { err = from.Carry(link) }); nsErr != nil {
		err = errors.Join(err, nsErr)
	}
	if err != nil && !errors.Is(err, xsk.ErrClosed) {
		s.config.Warn("whether sessions can be offloaded is not known", "interface", s.config.Device.Interface, "error", err)
	}
}

// tapOffloader and bridgeOffloader are queues whose packets the XDP program may carry.
type (
	tapOffloader    struct{ *offloading }
	bridgeOffloader struct{ *offloading }
)

var (
	_ source.Offloader = tapOffloader{}
	_ source.Offloader = bridgeOffloader{}
	_ source.Forwarder = bridgeOffloader{}
	_ source.Carrying  = plugged{}
)

// Forward implements [source.Forwarder].
func (b bridgeOffloader) Forward(verdicts []source.Verdict) (notSent int) {
	return bridged{b.Queue}.Forward(verdicts)
}

// offload makes the queues have packets carried by the XDP program.
func (s *Source) offload() {
	for _, q := range s.queues {
		q.offloading = &offloading{flowTable{s.flows}, q, make([]cameUp, 0, packet.BatchSize)}
	}
}

// frameSource returns a queue as a worker sees it.
func (q *Queue) frameSource(bridge bool) source.FrameSource {
	switch {
	case bridge && q.offloading != nil:
		return bridgeOffloader{q.offloading}
	case bridge:
		return bridged{q}
	case q.offloading != nil:
		return tapOffloader{q.offloading}
	default:
		return q
	}
}

// sourceCarrier is what a source has carried by itself.
type sourceCarrier struct {
	flowTable
	source *Source
}

// Carrier implements [source.Carrying].
func (p plugged) Carrier() source.Carrier {
	if p.flows == nil {
		return nil
	}
	return sourceCarrier{flowTable{p.flows}, p.Source}
}

// Carried implements [source.Carrier].
func (c sourceCarrier) Carried() source.Carried {
	stats, _ := c.source.Stats() // the error is in the status
	k := &stats.Program
	carried := source.Carried{Packets: k.Carried, Bytes: k.CarriedBytes}
	if c.source.config.Device.Bridge { // what is on its way is neither sent nor lost yet
		carried.Packets, carried.NotSent, carried.Forwards = k.CarriedSent+k.CarriedNotSent, k.CarriedNotSent, true
	}
	return carried
}
