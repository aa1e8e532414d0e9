package worker

import (
	"slices"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
)

// offloadSource is a source that is asked to carry packets, and a carrier of nothing: all packets still come.
type offloadSource struct {
	*fakeSource
	room     int
	flows    []packet.Tuple // by number, from 1
	resumed  []uint32
	up, held int
	forgot   []uint32
}

var _ source.Offloader = (*offloadSource)(nil)

func (s *offloadSource) Offload(h *packet.Headers) uint32 {
	if len(s.flows) == s.room {
		return 0
	}
	s.flows = append(s.flows, h.Tuple)
	return uint32(len(s.flows))
}

func (s *offloadSource) Resume(flow uint32) { s.resumed = append(s.resumed, flow) }
func (s *offloadSource) CameUp(uint32, int) { s.up++ }
func (s *offloadSource) HoldAll()           { s.held++ }

func (s *offloadSource) Take(uint32) session.Carried { return session.Carried{} }
func (s *offloadSource) Follow(_, _, _ uint32)       {}
func (s *offloadSource) Hold(uint32)                 {}
func (s *offloadSource) Forget(flow uint32)          { s.forgot = append(s.forgot, flow) }

// sparing is a hook that sees every packet of a port, and spares it the others.
type sparing struct{ port uint16 }

func (sparing) Inspect(*hook.Packet, *hook.Finding) hook.Verdict { return hook.Pass }

func (s sparing) Spares(p *hook.Packet) bool { return p.SrcPort != s.port && p.DstPort != s.port }

// newOffloadRig is a rig whose source carries packets.
func newOffloadRig(t *testing.T, room int, opts ...option) (*rig, *offloadSource) {
	t.Helper()
	s := &offloadSource{room: room}
	r := newRig(t, append(opts, func(c *Config, _ *session.Config) {
		s.fakeSource = c.Source.(*fakeSource)
		c.Source = s
	})...)
	r.Sessions.AddCarrier(s)
	return r, s
}

// datagrams adds a batch of datagrams of a session in both directions at a time.
func (r *rig) datagrams(at time.Duration, port uint16, n int) {
	r.t.Helper()
	var frames []timed
	for range n {
		frames = append(frames, timed{at, udpFrame(r.t, client, port, server, 53, 10), ""}, timed{at, udpFrame(r.t, server, 53, client, port, 10), "wan0"})
	}
	r.batch(frames...)
}

// TestOffload asks the source for both directions of a session that both ends want, once they have sent some packets, and again when
// much more has come all the same.
func TestOffload(t *testing.T) {
	r, s := newOffloadRig(t, 10, func(c *Config, _ *session.Config) {
		c.Ingress, c.Egress = []hook.Hook{sparing{7}}, []hook.Hook{sparing{8}}
	})
	for port := uint16(6); port <= 9; port++ {
		r.datagrams(0, port, 2)
	}
	for i := range 20 {
		for port := uint16(6); port <= 9; port++ {
			r.datagrams(100*time.Millisecond+time.Duration(i), port, 5)
		}
	}
	r.batch(timed{time.Second, udpFrame(t, client, 10, server, 53, 10), ""})
	r.run()
	var ports []uint16
	for _, f := range s.flows {
		ports = append(ports, f.SrcPort, f.DstPort)
	}
	// Those of the ports 7 and 8 are for hooks.
	if want := []uint16{6, 53, 53, 6, 9, 53, 53, 9}; !slices.Equal(ports, want) {
		t.Errorf("flows with the ports %v, want %v", ports, want)
	}
	if want := []uint32{1, 2, 3, 4, 1, 2, 3, 4}; !slices.Equal(s.resumed, want) {
		t.Errorf("resumed %v, want %v", s.resumed, want)
	}
	if want := 4 * (102 - 8); s.up != want {
		t.Errorf("%d packets came up, want %d", s.up, want)
	}
}

// TestOffloadFull goes on without when the source has no room.
func TestOffloadFull(t *testing.T) {
	r, s := newOffloadRig(t, 1)
	r.datagrams(0, 7, 2)
	r.datagrams(100*time.Millisecond, 7, 10)
	r.run()
	if len(s.flows) != 1 || !slices.Equal(s.resumed, []uint32{1}) || s.up != 4 {
		t.Errorf("flows %v, resumed %v, %d came up", s.flows, s.resumed, s.up)
	}
}

// TestOffloadNeedsSparing asks the source for nothing while there is a hook that sees every packet.
func TestOffloadNeedsSparing(t *testing.T) {
	for _, site := range []func(hookFunc) option{ingress, egress} {
		r, s := newOffloadRig(t, 10, site(func(*hook.Packet, *hook.Finding) hook.Verdict { return hook.Pass }))
		r.datagrams(0, 7, 2)
		r.datagrams(100*time.Millisecond, 7, 40)
		r.run()
		if len(s.flows) != 0 {
			t.Errorf("flows %v", s.flows)
		}
	}
}

// TestOffloadEndsWithRules holds all flows when there are other rules, at once and again when the worker judges by them; then the new ones
// are asked.
func TestOffloadEndsWithRules(t *testing.T) {
	r, s := newOffloadRig(t, 10)
	r.datagrams(0, 7, 2)
	r.datagrams(100*time.Millisecond, 7, 10)
	s.onReceive = func() {
		if s.next == 2 {
			r.SetRules(&Rules{Ingress: []hook.Hook{sparing{7}}})
			if s.held != 1 {
				t.Errorf("held %d times when there are other rules", s.held)
			}
		}
	}
	for range 10 {
		r.datagrams(200*time.Millisecond, 7, 10)
	}
	r.run()
	if s.held < 2 || len(s.resumed) != 2 {
		t.Errorf("held %d times, resumed %v", s.held, s.resumed)
	}
}

// TestOffloadWithoutPlace has a source carry nothing that has no place among the carriers: the session table could not name its flows.
func TestOffloadWithoutPlace(t *testing.T) {
	r, s := newOffloadRig(t, 10, func(c *Config, _ *session.Config) { c.Carrier = -1 })
	r.datagrams(0, 7, 2)
	r.datagrams(100*time.Millisecond, 7, 10)
	r.run()
	if len(s.flows) != 0 || s.up != 0 {
		t.Errorf("%d flows were added, and %d packets came up of them", len(s.flows), s.up)
	}
}
