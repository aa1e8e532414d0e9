package worker

import (
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
)

// TestOutgoing carries frames that were seen where they leave: they go to the zone of that interface, and come from the zone
// of their source prefix.
func TestOutgoing(t *testing.T) {
	const elsewhere = "203.0.113.9" // in no prefix
	for _, c := range []struct {
		name   string
		frames []packet.Frame
		want   []string
	}{
		{"a question and its answer", []packet.Frame{
			{Data: udpFrame(t, "198.51.100.7", 40000, elsewhere, 53, 32), Outgoing: true},
			{Data: udpFrame(t, elsewhere, 53, "198.51.100.7", 40000, 100)},
		}, []string{
			"0s session-open 198.51.100.7:40000>203.0.113.9:53/17 zones 2>1 if 0 id 1 policy 7 app junos-dns-udp",
			"1m1s session-close 198.51.100.7:40000>203.0.113.9:53/17 zones 2>1 if 0 id 1 policy 7 app junos-dns-udp 1/60 1/128 61s why 1",
		}},
		{"an answer first", []packet.Frame{
			{Data: tcpFrame(t, elsewhere, 443, client, 1000, syn|ack), Outgoing: true},
		}, []string{
			"0s session-open 192.0.2.10:1000>203.0.113.9:443/6 zones 1>0 if 0 id 1 policy 7 app junos-https",
			"20s session-close 192.0.2.10:1000>203.0.113.9:443/6 zones 1>0 if 0 id 1 policy 7 app junos-https 0/0 1/40 20s why 1",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, policy(permitAs(7)))
			for i := range c.frames {
				f := &c.frames[i]
				f.Wire, f.Time, f.Interface = len(f.Data), start+int64(i)*int64(time.Second), r.zones.Index("lan0")
			}
			r.source.batches = append(r.source.batches, c.frames)
			r.timeout(90 * time.Second)
			r.expect(c.want...)
		})
	}
}

// TestMerged counts a packet that the kernel has merged from others as those.
func TestMerged(t *testing.T) {
	r := newRig(t, policy(permitAs(7)))
	question, answer := udpFrame(t, client, 40000, server, 443, 32), udpFrame(t, server, 443, client, 40000, 2500)
	r.source.batches = [][]packet.Frame{{
		{Data: question, Wire: len(question), Time: start, Interface: r.zones.Index("lan0")},
		{Data: answer[:64], Wire: len(answer), Time: start + 1, Interface: r.zones.Index("wan0"), SegmentSize: 1000, SegmentProto: packet.ProtoUDP},
	}}
	r.timeout(90 * time.Second)
	r.expect(
		"0s session-open 192.0.2.10:40000>198.51.100.1:443/17 zones 1>2 if 11 id 1 policy 7 app -",
		"1m0s session-close 192.0.2.10:40000>198.51.100.1:443/17 zones 1>2 if 11 id 1 policy 7 app - 1/60 3/2584 60s why 1",
	)
}
