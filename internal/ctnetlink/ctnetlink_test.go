package ctnetlink_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/internal/nfnetlink"
	"github.com/rtflow/pipelined/internal/testing/ctmessage"
	"github.com/rtflow/pipelined/internal/testing/race"
)

func addr(last byte, family packet.Family) packet.Addr {
	if family == packet.IPv4 {
		return packet.Addr{192, 0, 2, last}
	}
	return packet.Addr{0: 0x20, 1: 0x01, 15: last}
}

func tuple(family packet.Family, proto uint8, src, dst byte, sport, dport uint16) packet.Tuple {
	return packet.Tuple{Src: addr(src, family), Dst: addr(dst, family), SrcPort: sport, DstPort: dport, Proto: proto, Family: family}
}

func entries() map[string]ctnetlink.Entry {
	return map[string]ctnetlink.Entry{
		"TCP, source translated": {
			Orig: tuple(packet.IPv4, packet.ProtoTCP, 1, 2, 40000, 443), Reply: tuple(packet.IPv4, packet.ProtoTCP, 2, 9, 443, 50000),
			ID: 0xdeadbeef, Status: ctnetlink.SeenReply | ctnetlink.Assured | ctnetlink.SrcNAT, State: ctnetlink.TimeWait, Timeout: 120,
			OrigPackets: 1<<40 + 1, OrigBytes: 1<<41 + 2, ReplyPackets: 3, ReplyBytes: 4, Counted: true, Start: 1 << 60, Stop: 1<<60 + 5, Time: 1<<60 + 6,
		},
		"UDP": {
			Orig: tuple(packet.IPv6, packet.ProtoUDP, 1, 2, 5353, 53), Reply: tuple(packet.IPv6, packet.ProtoUDP, 2, 1, 53, 5353),
			ID: 1, Zone: 7, Mark: 0x10,
		},
		"ICMP": {
			Orig: tuple(packet.IPv4, packet.ProtoICMP, 1, 2, 77, 0), Reply: tuple(packet.IPv4, packet.ProtoICMP, 2, 1, 77, 0),
			ICMPType: 8, ICMPCode: 1, ID: 2,
		},
		"ICMPv6": {
			Orig: tuple(packet.IPv6, packet.ProtoICMPv6, 1, 2, 78, 0), Reply: tuple(packet.IPv6, packet.ProtoICMPv6, 2, 1, 78, 0),
			ICMPType: 128, ID: 3,
		},
	}
}

func TestDecode(t *testing.T) {
	for name, want := range entries() {
		for kind := ctnetlink.New; kind <= ctnetlink.Destroy; kind++ {
			m, rest, ok := nfnetlink.NextMessage(ctmessage.Append(nil, kind, 0, &want))
			if !ok || len(rest) != 0 || ctnetlink.KindOf(&m) != kind {
				t.Fatalf("%s: %+v, %v", name, m, ok)
			}
			var got ctnetlink.Entry
			if !ctnetlink.Decode(&m, &got) {
				t.Fatalf("%s: malformed", name)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
}

// TestGet decodes requests: they have the form of an entry that lacks its reply.
func TestGet(t *testing.T) {
	for name, want := range entries() {
		b := ctnetlink.AppendGet(ctnetlink.AppendGet(nil, 1, &want), 2, &want)
		for seq := uint32(1); seq <= 2; seq++ {
			m, rest, ok := nfnetlink.NextMessage(b)
			if !ok || m.Seq != seq || m.Flags != unix.NLM_F_REQUEST {
				t.Fatalf("%s: %+v, %v", name, m, ok)
			}
			b = rest
			var got ctnetlink.Entry
			if ctnetlink.Decode(&m, &got) {
				t.Errorf("%s: a request has a reply tuple", name)
			}
			reply := bytes.Clone(m.Attrs) // the same tuple again as that of the reply
			reply[2] = 2
			m.Attrs = append(bytes.Clone(m.Attrs), reply...)
			if !ctnetlink.Decode(&m, &got) || got.Orig != want.Orig || got.Zone != want.Zone || got.ICMPType != want.ICMPType || got.ICMPCode != want.ICMPCode {
				t.Errorf("%s: asks for %+v", name, got)
			}
		}
	}
}

func TestOther(t *testing.T) {
	m := nfnetlink.Message{Type: unix.NFNL_SUBSYS_CTNETLINK<<8 | 5}
	if kind := ctnetlink.KindOf(&m); kind != ctnetlink.Other {
		t.Errorf("statistics are %d", kind)
	}
	if _, ok := ctnetlink.DecodeStats(&nfnetlink.Message{}); ok {
		t.Error("an empty message has statistics")
	}
	m.Attrs = nfnetlink.AppendUint32(nfnetlink.AppendUint32(nil, 1, 5), 2, 100)
	if stats, ok := ctnetlink.DecodeStats(&m); !ok || stats != (ctnetlink.Stats{Entries: 5, Max: 100}) {
		t.Errorf("%+v, %v", stats, ok)
	}
}

// TestMalformed changes each length in a message, and cuts it everywhere: what is decoded then has both tuples.
func TestMalformed(t *testing.T) {
	want := entries()["TCP, source translated"]
	whole := ctmessage.Append(nil, ctnetlink.New, 0, &want)
	refused := 0
	for at := nfnetlink.HeaderSize; at < len(whole); at++ {
		for _, value := range []byte{0, 1, 3, 5, 0x80, 0xff} {
			b := bytes.Clone(whole)
			b[at] = value
			if !check(t, b) {
				refused++
			}
		}
		m, _, _ := nfnetlink.NextMessage(whole)
		m.Attrs = m.Attrs[:at-nfnetlink.HeaderSize]
		var e ctnetlink.Entry
		if ctnetlink.Decode(&m, &e) && (e.Orig != want.Orig || e.Reply != want.Reply) {
			t.Errorf("cut at %d: %+v", at, e)
		}
	}
	if refused < 100 {
		t.Errorf("only %d messages were refused", refused)
	}
}

// check decodes every message of b, and reports whether all were entries.
func check(t *testing.T, b []byte) bool {
	all := true
	for m, rest, ok := nfnetlink.NextMessage(b); ok; m, rest, ok = nfnetlink.NextMessage(rest) {
		var e ctnetlink.Entry
		if ctnetlink.KindOf(&m) == ctnetlink.Other || !ctnetlink.Decode(&m, &e) {
			all = false
			continue
		}
		if f := e.Orig.Family; f != e.Reply.Family || f != packet.IPv4 && f != packet.IPv6 || e.Orig.Proto != e.Reply.Proto {
			t.Errorf("%+v of %x", e, b)
		}
		if f := e.Orig.Family; f == packet.IPv4 && [12]byte(e.Orig.Src[4:]) != [12]byte{} {
			t.Errorf("%v is no IPv4 address", e.Orig.Src)
		}
	}
	return all
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	want := entries()["TCP, source translated"]
	b := ctmessage.Append(nil, ctnetlink.New, 0, &want)
	request := make([]byte, 0, 256)
	var e ctnetlink.Entry
	if n := testing.AllocsPerRun(100, func() {
		m, _, _ := nfnetlink.NextMessage(b)
		if !ctnetlink.Decode(&m, &e) {
			t.Fatal("malformed")
		}
		request = ctnetlink.AppendGet(request[:0], 1, &e)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range entries() {
		f.Add(ctmessage.Append(nil, ctnetlink.New, 0, &e))
		f.Add(ctmessage.Append(ctmessage.AppendAnswer(nil, 1, unix.NLM_F_MULTI, &e), ctnetlink.Destroy, 1, &e))
		f.Add(ctnetlink.AppendGet(nil, 1, &e))
	}
	f.Add(ctmessage.AppendDone(ctmessage.AppendError(nil, 1, unix.ENOENT), 1, 0))
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}

func BenchmarkDecode(b *testing.B) {
	want := entries()["TCP, source translated"]
	message := ctmessage.Append(nil, ctnetlink.Destroy, 0, &want)
	var e ctnetlink.Entry
	b.ReportAllocs()
	for b.Loop() {
		m, _, _ := nfnetlink.NextMessage(message)
		if !ctnetlink.Decode(&m, &e) {
			b.Fatal("malformed")
		}
	}
}
