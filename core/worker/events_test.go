package worker

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/sdk/event"
)

const (
	syn = packet.SYN
	ack = packet.ACK
	rst = packet.RST
	fin = packet.FIN
)

func (r *rig) expect(want ...string) {
	r.t.Helper()
	if diff := cmp.Diff(want, lines(r.run())); diff != "" {
		r.t.Error(diff)
	}
}

func permitAs(id uint32) sessionFunc {
	return func(_ *hook.Packet, permit *hook.Permit, _ *hook.Finding) hook.Verdict {
		permit.Policy = id
		return hook.Pass
	}
}

// TestUnlogged tells of what hooks find, and of no session, be it one that begins, or one that is joined.
func TestUnlogged(t *testing.T) {
	r := newRig(t, complete, policy(permitAs(7)), func(c *Config, _ *session.Config) { c.Unlogged, c.CloseAtEnd = true, true },
		ingress(func(_ *hook.Packet, f *hook.Finding) hook.Verdict {
			*f = hook.Finding{Found: true, Kind: event.ScreenDrop, Screen: event.ScreenLand}
			return hook.Pass
		}))
	r.batch(timed{0, udpFrame(t, client, 40000, server, 53, 32), ""}, timed{time.Second, udpFrame(t, server, 53, client, 40000, 100), "wan0"},
		timed{2 * time.Second, tcpFrame(t, client, 1000, server, 443, ack), ""})
	for _, rec := range r.run() {
		if rec.Kind() != event.ScreenDrop {
			t.Errorf("a record %v", rec.Kind())
		}
	}
	if st := r.Sessions.Stats(); st.Created != 2 || st.Closed != 2 || r.gate.Ledger().Offered[event.ScreenDrop] != 3 {
		t.Errorf("sessions %+v, %d screen drops", st, r.gate.Ledger().Offered[event.ScreenDrop])
	}
}

// TestEvents carries packets and compares the records: their order and what they say.
func TestEvents(t *testing.T) {
	request := udpFrame(t, client, 40000, server, 53, 32)
	answer := udpFrame(t, server, 53, client, 40000, 100)
	deny := func(action event.Action, v hook.Verdict) sessionFunc {
		return func(_ *hook.Packet, _ *hook.Permit, f *hook.Finding) hook.Verdict {
			*f = hook.Finding{Found: true, Kind: event.PolicyDeny, Action: action, Policy: 8}
			return v
		}
	}
	first, second := fragmentFrames(t, client, 40000, server, 53, 77)
	for _, c := range []struct {
		name   string
		opts   []option
		frames []timed
		end    time.Duration // when the source has nothing more
		want   []string
	}{
		{"UDP answered", []option{policy(permitAs(7))},
			[]timed{{0, request, ""}, {time.Second, answer, "wan0"}}, 90 * time.Second, []string{
				"0s session-open 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 id 1 policy 7 app junos-dns-udp",
				"1m1s session-close 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 id 1 policy 7 app junos-dns-udp 1/60 1/128 61s why 1",
			}},
		{"TCP to its end", []option{policy(permitAs(7))}, []timed{
			{0, tcpFrame(t, client, 1000, server, 443, syn), ""}, {time.Second, tcpFrame(t, server, 443, client, 1000, syn|ack), "wan0"},
			{2 * time.Second, tcpFrame(t, client, 1000, server, 443, ack), ""}, {3 * time.Second, tcpFrame(t, client, 1000, server, 443, fin|ack), ""},
			{4 * time.Second, tcpFrame(t, server, 443, client, 1000, fin|ack), "wan0"}, {5 * time.Second, tcpFrame(t, client, 1000, server, 443, ack), ""},
		}, 20 * time.Second, []string{
			"0s session-open 192.0.2.10:1000>198.51.100.1:443/6 zones 1>2 if 11 id 1 policy 7 app junos-https",
			"7s session-close 192.0.2.10:1000>198.51.100.1:443/6 zones 1>2 if 11 id 1 policy 7 app junos-https 4/160 2/80 7s why 2",
		}},
		{"a new SYN after a RST: the old session closes first", nil, []timed{
			{0, tcpFrame(t, client, 1000, server, 9999, syn), ""}, {time.Second, tcpFrame(t, server, 9999, client, 1000, rst|ack), "wan0"},
			{2 * time.Second, tcpFrame(t, client, 1000, server, 9999, syn), ""},
		}, 3 * time.Second, []string{
			"0s session-open 192.0.2.10:1000>198.51.100.1:9999/6 zones 1>2 if 11 id 1 policy 0 app -",
			"2s session-close 192.0.2.10:1000>198.51.100.1:9999/6 zones 1>2 if 11 id 1 policy 0 app - 1/40 1/40 2s why 7",
			"2s session-open 192.0.2.10:1000>198.51.100.1:9999/6 zones 1>2 if 11 id 2 policy 0 app -",
		}},
		{"VLAN and zone by prefix", nil, []timed{
			{0, frame(t, &layers.Dot1Q{VLANIdentifier: 30, Type: layers.EthernetTypeIPv4}, ip4(client, server, layers.IPProtocolUDP),
				&layers.UDP{SrcPort: 1, DstPort: 9}), ""},
			{0, frame(t, &layers.Dot1Q{VLANIdentifier: 31, Type: layers.EthernetTypeIPv4}, ip4(client, server, layers.IPProtocolUDP),
				&layers.UDP{SrcPort: 2, DstPort: 9}), ""},
			{0, udpFrame(t, server, 3, client, 9, 0), "tap9"},
		}, 0, []string{
			"0s session-open 192.0.2.10:1>198.51.100.1:9/17 zones 3>2 if 1966091 id 1 policy 0 app junos-discard",
			"0s session-open 192.0.2.10:2>198.51.100.1:9/17 zones 1>2 if 11 id 2 policy 0 app junos-discard",
			"0s session-open 198.51.100.1:3>192.0.2.10:9/17 zones 2>0 if 0 id 3 policy 0 app junos-discard",
		}},
		{"IPv6 echo", nil, []timed{
			{0, frame(t, ip6("2001:db8:1::1", "2001:db8:2::1", layers.IPProtocolICMPv6),
				&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(128, 0)}, &layers.ICMPv6Echo{Identifier: 5, SeqNumber: 6}), ""},
			{time.Second, frame(t, ip6("2001:db8:2::1", "2001:db8:1::1", layers.IPProtocolICMPv6),
				&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(129, 0)}, &layers.ICMPv6Echo{Identifier: 5, SeqNumber: 6}), "wan0"},
		}, 10 * time.Second, []string{
			"0s session-open 2001:db8:1::1:5>2001:db8:2::1:6/58 zones 1>2 if 11 id 1 policy 0 app icmpv6",
			"3s session-close 2001:db8:1::1:5>2001:db8:2::1:6/58 zones 1>2 if 11 id 1 policy 0 app icmpv6 1/48 1/48 3s why 8",
		}},
		{"denied", []option{policy(deny(event.ActionDeny, hook.Drop))},
			[]timed{{0, request, ""}, {time.Second, request, ""}}, 100 * time.Second, []string{
				"0s policy-deny 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 id 1 policy 8 app junos-dns-udp action 0 icmp 0",
				"1s policy-deny 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 id 2 policy 8 app junos-dns-udp action 0 icmp 0",
			}},
		{"ICMP rejected", []option{policy(deny(event.ActionReject, hook.Reject))},
			[]timed{{0, echoFrame(t, client, server, 8, 21, 1), ""}}, 0, []string{
				"0s policy-deny 192.0.2.10:21>198.51.100.1:1/1 zones 1>2 if 11 id 1 policy 8 app icmp action 2 icmp 8",
			}},
		{"only an echo is called icmp", []option{policy(deny(event.ActionDeny, hook.Drop))},
			[]timed{{0, echoFrame(t, client, server, 13, 21, 1), ""}}, 0, []string{
				"0s policy-deny 192.0.2.10:0>198.51.100.1:0/1 zones 1>2 if 11 id 1 policy 8 app - action 0 icmp 13",
			}},
		{"no records wanted", []option{policy(func(_ *hook.Packet, permit *hook.Permit, _ *hook.Finding) hook.Verdict {
			permit.NoOpen, permit.NoClose = true, true
			return hook.Pass
		})}, []timed{{0, request, ""}}, 100 * time.Second, nil},
		{"only the close is wanted, timeout of the policy", []option{policy(func(_ *hook.Packet, permit *hook.Permit, _ *hook.Finding) hook.Verdict {
			permit.NoOpen, permit.Timeout = true, 5
			return hook.Pass
		})}, []timed{{0, request, ""}}, 10 * time.Second, []string{
			"5s session-close 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 id 1 policy 0 app junos-dns-udp 1/60 0/0 5s why 1",
		}},
		{"timeout of the application", nil, []timed{
			{0, tcpFrame(t, client, 1000, server, 80, syn), ""}, {0, tcpFrame(t, server, 80, client, 1000, syn|ack), "wan0"},
			{0, tcpFrame(t, client, 1000, server, 80, ack), ""},
		}, 400 * time.Second, []string{
			"0s session-open 192.0.2.10:1000>198.51.100.1:80/6 zones 1>2 if 11 id 1 policy 0 app junos-http",
			"5m0s session-close 192.0.2.10:1000>198.51.100.1:80/6 zones 1>2 if 11 id 1 policy 0 app junos-http 2/80 1/40 300s why 1",
		}},
		{"screen that drops and screen that does not", []option{ingress(func(p *hook.Packet, f *hook.Finding) hook.Verdict {
			if p.SrcPort == 40000 {
				*f = hook.Finding{Found: true, Kind: event.ScreenDrop, Action: event.ActionPermit, Screen: event.ScreenUDPFlood}
				return hook.Pass
			}
			*f = hook.Finding{Found: true, Kind: event.ScreenDrop, Screen: event.ScreenBlockFrag}
			return hook.Drop
		})}, []timed{{0, request, ""}, {0, udpFrame(t, client, 1, server, 53, 0), ""}}, 0, []string{
			// What is learnt of the packet after the screen does not show in the screen's record.
			"0s screen-drop 192.0.2.10:40000>198.51.100.1:53/17 zones 1>0 if 11 screen udp-flood action 1 app -",
			"0s session-open 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 id 1 policy 0 app junos-dns-udp",
			"0s screen-drop 192.0.2.10:1>198.51.100.1:53/17 zones 1>0 if 11 screen block-frag action 0 app -",
		}},
		{"output filter sees both directions' zones", []option{egress(func(_ *hook.Packet, f *hook.Finding) hook.Verdict {
			*f = hook.Finding{Found: true, Kind: event.FilterLog, Action: event.ActionPermit, Filter: 4, Term: 2, At: event.FilterOutput}
			return hook.Pass
		})}, []timed{{0, request, ""}, {0, answer, "wan0"}, {0, request, ""}, {0, errorFrame(t, client, 3, 3, request), "wan0"}}, 0, []string{
			"0s session-open 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 id 1 policy 0 app junos-dns-udp",
			"0s filter-log 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 filter 4/2 at 3 action 1 icmp 0/0",
			"0s filter-log 198.51.100.1:53>192.0.2.10:40000/17 zones 2>1 if 12 filter 4/2 at 3 action 1 icmp 0/0",
			"0s filter-log 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 filter 4/2 at 3 action 1 icmp 0/0",
			"0s filter-log 203.0.113.1:0>192.0.2.10:0/1 zones 2>1 if 12 filter 4/2 at 3 action 1 icmp 3/3",
		}},
		{"ICMP error ends a UDP session", nil,
			[]timed{{0, request, ""}, {time.Second, errorFrame(t, client, 3, 3, request), "wan0"}}, 10 * time.Second, []string{
				"0s session-open 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 id 1 policy 0 app junos-dns-udp",
				"3s session-close 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 id 1 policy 0 app junos-dns-udp 1/60 0/0 3s why 9",
			}},
		{"fragments are counted into the session", nil,
			[]timed{{0, first, ""}, {0, second, ""}, {0, request, ""}}, 70 * time.Second, []string{
				"0s session-open 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 id 1 policy 0 app junos-dns-udp",
				"1m0s session-close 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 id 1 policy 0 app junos-dns-udp 3/1100 0/0 60s why 1",
			}},
		{"the input filter saw no ports of a later fragment", []option{ingress(func(p *hook.Packet, f *hook.Finding) hook.Verdict {
			if p.FragOff != 0 {
				*f = hook.Finding{Found: true, Kind: event.FilterLog, Action: event.ActionPermit, At: event.FilterInput}
			}
			return hook.Pass
		})}, []timed{{0, first, ""}, {0, second, ""}}, 0, []string{
			"0s session-open 192.0.2.10:40000>198.51.100.1:53/17 zones 1>2 if 11 id 1 policy 0 app junos-dns-udp",
			"0s filter-log 192.0.2.10:0>198.51.100.1:0/17 zones 1>0 if 11 filter 0/0 at 2 action 1 icmp 0/0",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			// One batch with everything, and a batch per packet: where batches end makes no difference.
			for _, split := range []bool{false, true} {
				r := newRig(t, c.opts...)
				if !split {
					r.batch(c.frames...)
				} else {
					for _, f := range c.frames {
						r.batch(f)
					}
				}
				r.timeout(c.end)
				r.expect(c.want...)
			}
		})
	}
}

// TestFates counts where packets go, one sort after the other.
func TestFates(t *testing.T) {
	request := udpFrame(t, client, 40000, server, 53, 32)
	_, orphan := fragmentFrames(t, client, 40000, server, 53, 78)
	dropOdd := func(p *hook.Packet, _ *hook.Finding) hook.Verdict {
		if p.SrcPort == 666 {
			return hook.Drop
		}
		return hook.Pass
	}
	evil := udpFrame(t, client, 666, server, 53, 0)
	arp := frame(t, &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, Operation: 1,
		SourceHwAddress: make([]byte, 6), SourceProtAddress: make([]byte, 4), DstHwAddress: make([]byte, 6), DstProtAddress: make([]byte, 4)})
	for _, c := range []struct {
		name   string
		opts   []option
		frames [][]byte
		want   Counts
	}{
		{"passed", nil, [][]byte{request, request}, Counts{Passed: 2}},
		{"dropped at ingress", []option{ingress(dropOdd)}, [][]byte{request, evil}, Counts{Passed: 1, Dropped: [hook.NumSites]uint64{hook.Ingress: 1}}},
		{"dropped at egress", []option{egress(dropOdd)}, [][]byte{request, evil}, Counts{Passed: 1, Dropped: [hook.NumSites]uint64{hook.Egress: 1}}},
		{"dropped by policy", []option{policy(func(p *hook.Packet, _ *hook.Permit, f *hook.Finding) hook.Verdict { return dropOdd(p, f) })},
			[][]byte{request, evil, evil}, Counts{Passed: 1, Dropped: [hook.NumSites]uint64{hook.Session: 2}}},
		{"not IP", nil, [][]byte{arp, request}, Counts{Passed: 2, Causes: causes(packet.NotIP, 1)}},
		{"refused", nil, [][]byte{request[:13], request[:30], request}, Counts{Passed: 1, Causes: add(causes(packet.LinkShort, 1), packet.IPShort, 1)}},
		{"RST without session", nil, [][]byte{tcpFrame(t, client, 1, server, 80, rst)}, Counts{Passed: 1, Strays: 1}},
		{"RST in its session", nil, [][]byte{tcpFrame(t, client, 1, server, 80, syn), tcpFrame(t, server, 80, client, 1, rst)}, Counts{Passed: 2}},
		{"ICMP error without session", nil, [][]byte{errorFrame(t, client, 3, 3, request)},
			Counts{Strays: 1, Dropped: [hook.NumSites]uint64{hook.Session: 1}}},
		{"ICMP error with session", nil, [][]byte{request, errorFrame(t, client, 3, 3, request)}, Counts{Passed: 2}},
		{"ICMP error that quotes nothing", nil, [][]byte{errorFrame(t, client, 3, 3, request[:20])},
			Counts{Strays: 1, Dropped: [hook.NumSites]uint64{hook.Session: 1}}},
		{"orphan fragment", nil, [][]byte{orphan}, Counts{Passed: 1, Orphans: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.opts...)
			var batch []timed
			for _, f := range c.frames {
				batch = append(batch, timed{0, f, ""})
				c.want.Received++
				c.want.Bytes += uint64(len(f))
			}
			r.batch(batch...)
			r.run()
			if diff := cmp.Diff(c.want, r.Counts()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func causes(c packet.Cause, n uint64) (all [packet.NumCauses]uint64) { return add(all, c, n) }

func add(all [packet.NumCauses]uint64, c packet.Cause, n uint64) [packet.NumCauses]uint64 {
	all[c] += n
	return all
}

// TestNoEventWithoutSession checks that what begins no session makes no record either.
func TestNoEventWithoutSession(t *testing.T) {
	_, orphan := fragmentFrames(t, client, 40000, server, 53, 78)
	r := newRig(t)
	r.batch(timed{0, tcpFrame(t, client, 1, server, 80, rst|ack), ""}, timed{0, orphan, ""},
		timed{0, errorFrame(t, client, 11, 0, udpFrame(t, client, 1, server, 9, 0)), "wan0"})
	r.timeout(time.Hour)
	r.expect()
	if got := r.Sessions.Stats().Created; got != 0 {
		t.Errorf("%d sessions", got)
	}
}

// TestFragmentLife checks that a fragment id is forgotten after the reassembly timeout, and that ids of other senders do
// not mix.
func TestFragmentLife(t *testing.T) {
	first, second := fragmentFrames(t, client, 40000, server, 53, 77)
	_, other := fragmentFrames(t, "192.0.2.11", 40000, server, 53, 77)
	_, later := fragmentFrames(t, client, 40000, server, 53, 78)
	for _, c := range []struct {
		name    string
		at      time.Duration
		data    []byte
		orphans uint64
	}{
		{"in time", 30 * time.Second, second, 0},
		{"too late", 30*time.Second + 1, second, 1},
		{"of another sender", 0, other, 1},
		{"of another datagram", 0, later, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.batch(timed{0, first, ""}, timed{c.at, c.data, ""})
			r.run()
			if got := r.Counts().Orphans; got != c.orphans {
				t.Errorf("%d orphans, want %d", got, c.orphans)
			}
		})
	}
}

// TestManyFindings makes more events in one batch than a flush takes. The worker flushes in between, and every record must
// be of its own packet.
func TestManyFindings(t *testing.T) {
	var opts []option
	for i := range 6 {
		opts = append(opts, ingress(func(_ *hook.Packet, f *hook.Finding) hook.Verdict {
			*f = hook.Finding{Found: true, Kind: event.FilterLog, Filter: uint32(i)}
			return hook.Pass
		}))
	}
	r := newRig(t, opts...)
	var batch []timed
	for i := range packet.BatchSize {
		batch = append(batch, timed{time.Duration(i) * time.Millisecond, udpFrame(t, client, uint16(i+1), server, 9, 0), ""})
	}
	r.batch(batch...)
	records := r.run()
	if len(records) != packet.BatchSize*7 {
		t.Fatalf("%d records, want %d", len(records), packet.BatchSize*7)
	}
	for i := range records {
		rec, n, which := &records[i], i/7, i%7
		if rec.SrcPort() != uint16(n+1) || rec.Time() != start+wallOffset+int64(n)*1e6 || rec.Generation != 9 {
			t.Fatalf("record %d: %s", i, line(rec))
		}
		if which < 6 && (rec.Kind() != event.FilterLog || rec.Filter() != uint32(which)) || which == 6 && rec.Kind() != event.SessionOpen {
			t.Fatalf("record %d: %s", i, line(rec))
		}
	}
}

// TestStamps checks that a record has its packet's time on the wall clock as it stands at the batch, steps included.
func TestStamps(t *testing.T) {
	r := newRig(t)
	r.batch(timed{time.Second, udpFrame(t, client, 1, server, 9, 0), ""}, timed{2 * time.Second, udpFrame(t, client, 2, server, 9, 0), ""})
	r.source.now = []int64{start + int64(10*time.Second)} // the batch was received later than its packets arrived
	records := r.run()
	for i, want := range []time.Duration{time.Second, 2 * time.Second} {
		if got := time.Duration(records[i].Time() - wallOffset - start); got != want {
			t.Errorf("record %d stamped %v, want %v", i, got, want)
		}
	}
}

// TestSessionIDs checks that ids of several workers do not meet.
func TestSessionIDs(t *testing.T) {
	r := newRig(t)
	others := make(map[uint64]bool)
	const n = 3000 // more than a worker reserves at once
	for port := range uint16(n) {
		if port%500 == 0 { // another worker begins
			first, last := r.Sessions.ReserveIDs()
			for id := first; id <= last; id++ {
				others[id] = true
			}
		}
		r.batch(timed{0, udpFrame(t, client, port+1, server, 9, 0), ""})
	}
	last := uint64(0)
	records := r.run()
	if len(records) != n {
		t.Fatalf("%d records, want %d", len(records), n)
	}
	for i := range records {
		id := records[i].SessionID()
		if id <= last || others[id] {
			t.Fatalf("id %d of session %d, after %d", id, i, last)
		}
		last = id
	}
	if records[0].SessionID() != 1 || r.Sessions.HighestID() < last {
		t.Errorf("ids %d to %d, the highest is %d", records[0].SessionID(), last, r.Sessions.HighestID())
	}
}

// TestEnd checks what becomes of the last batch and of the error, however a source ends.
func TestEnd(t *testing.T) {
	for _, c := range []struct {
		name     string
		err      error
		together bool
		want     error
	}{
		{"EOF", io.EOF, false, nil},
		{"EOF with the last batch", io.EOF, true, nil},
		{"error", errBroken, false, errBroken},
		{"error with the last batch", errBroken, true, errBroken},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.source.err, r.source.together = c.err, c.together
			r.batch(timed{0, udpFrame(t, client, 1, server, 9, 0), ""})
			r.batch(timed{0, udpFrame(t, client, 2, server, 9, 0), ""})
			if err := r.Run(context.Background()); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			r.checkP1()
			if got := r.Counts().Received; got != 2 {
				t.Errorf("%d packets received, want 2", got)
			}
			if got := len(r.drain()); got != 2 {
				t.Errorf("%d records, want 2", got)
			}
			if r.source.lent || r.source.next != 2 {
				t.Error("the last batch was not released")
			}
			if r.Beats() == 0 {
				t.Error("no beats")
			}
		})
	}
}

// TestCancel checks that a worker ends without an error when it is told to.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r := newRig(t)
	r.source.err = nil
	r.source.onEmpty = cancel
	r.batch(timed{0, udpFrame(t, client, 1, server, 9, 0), ""})
	if err := r.Run(ctx); err != nil {
		t.Error(err)
	}
	if got := len(r.drain()); got != 1 {
		t.Errorf("%d records, want 1", got)
	}
}
