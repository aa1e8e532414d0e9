package event_test

import (
	"math"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/sdk/event"
)

func check[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// setCommon sets what every kind but Loss has, each field to another value, and returns the check for it: a setter that
// writes over its neighbour is caught.
func setCommon(r *event.Record) (verify func(t *testing.T)) {
	src, dst := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	a, b := src.As16(), dst.As16()
	r.SetSeq(math.MaxUint64 - 1)
	r.SetTime(math.MaxInt64 - 2)
	r.SetFlow(event.FamilyIPv6, 253, &a, &b, 0x0102, 0xfffe)
	r.SetZones(0x0304, 0xfdfc)
	r.SetAction(event.ActionReject)
	r.SetInterface(0xfbfaf9f8)
	r.SetApplication(0x0506)
	return func(t *testing.T) {
		t.Helper()
		check(t, "Seq", r.Seq(), math.MaxUint64-1)
		check(t, "Time", r.Time(), math.MaxInt64-2)
		check(t, "Family", r.Family(), event.FamilyIPv6)
		check(t, "Proto", r.Proto(), 253)
		check(t, "Src", r.Src(), src)
		check(t, "Dst", r.Dst(), dst)
		check(t, "SrcPort", r.SrcPort(), 0x0102)
		check(t, "DstPort", r.DstPort(), 0xfffe)
		check(t, "InZone", r.InZone(), 0x0304)
		check(t, "OutZone", r.OutZone(), 0xfdfc)
		check(t, "Action", r.Action(), event.ActionReject)
		check(t, "Interface", r.Interface(), 0xfbfaf9f8)
		check(t, "Application", r.Application(), 0x0506)
	}
}

func TestSessionAccessors(t *testing.T) {
	for _, k := range []event.Kind{event.SessionOpen, event.SessionClose} {
		t.Run(k.String(), func(t *testing.T) {
			var r event.Record
			r.Reset(k)
			verify := setCommon(&r)
			natSrc, natDst := netip.MustParseAddr("2001:db8::3"), netip.MustParseAddr("2001:db8::4")
			a, b := natSrc.As16(), natDst.As16()
			r.SetPolicy(0x0a0b0c0d)
			r.SetSessionID(math.MaxUint64 - 5)
			if k == event.SessionClose {
				r.SetClose(1<<63+1, 1<<62+2, 1<<61+3, 1<<60+4, 0xf1f2f3f4, event.CloseServerRST)
				defer func() {
					check(t, "ClientPackets", r.ClientPackets(), 1<<63+1)
					check(t, "ClientBytes", r.ClientBytes(), 1<<62+2)
					check(t, "ServerPackets", r.ServerPackets(), 1<<61+3)
					check(t, "ServerBytes", r.ServerBytes(), 1<<60+4)
					check(t, "CloseReason", r.CloseReason(), event.CloseServerRST)
				}()
			}
			if _, ok := r.NATSrc(); ok {
				t.Error("a source translation before one was set")
			}
			check(t, "Translated", r.Translated(), false)
			r.SetNAT(new([16]byte), &b, 0, 0xe0f0)
			check(t, "Translated", r.Translated(), true)
			r.SetNAT(&a, new([16]byte), 0x0e0f, 0)
			check(t, "Translated", r.Translated(), true)
			r.SetNAT(&a, &b, 0x0e0f, 0xe0f0)
			verify(t)
			check(t, "SrcBytes", netip.AddrFrom16(*r.SrcBytes()), r.Src())
			check(t, "DstBytes", netip.AddrFrom16(*r.DstBytes()), r.Dst())
			check(t, "Policy", r.Policy(), 0x0a0b0c0d)
			check(t, "SessionID", r.SessionID(), math.MaxUint64-5)
			src, ok := r.NATSrc()
			check(t, "NATSrc", src, netip.AddrPortFrom(natSrc, 0x0e0f))
			check(t, "translated", ok, true)
			dst, ok := r.NATDst()
			check(t, "NATDst", dst, netip.AddrPortFrom(natDst, 0xe0f0))
			check(t, "translated", ok, true)
			check(t, "frame", len(r.Frame()), event.MaxFrame)
			check(t, "payload", len(r.Payload()), event.RecordSize)
		})
	}
}

func TestElapsed(t *testing.T) {
	const s = int64(1e9)
	for _, c := range []struct {
		end     int64
		created uint32
		want    uint32
	}{
		{100*s + 999_999_999, 40, 60}, {100 * s, 100, 0}, {100 * s, 101, 0}, {100 * s, 0, 0}, {0, 5, 0}, {-s, 5, 0},
		{math.MaxUint32 * s, 1, math.MaxUint32 - 1}, {math.MaxInt64, 1, math.MaxUint32},
	} {
		var r event.Record
		r.Reset(event.SessionClose)
		r.SetTime(c.end)
		r.SetClose(0, 0, 0, 0, c.created, event.CloseFIN)
		if got := r.Elapsed(); got != c.want {
			t.Errorf("from %d s to %d ns: %d, want %d", c.created, c.end, got, c.want)
		}
	}
}

func TestDenyAccessors(t *testing.T) {
	var r event.Record
	r.Reset(event.PolicyDeny)
	verify := setCommon(&r)
	r.SetDeny(0x0a0b0c0d, 0xfedc_ba98_7654_3210, 8)
	verify(t)
	check(t, "Policy", r.Policy(), 0x0a0b0c0d)
	check(t, "SessionID", r.SessionID(), 0xba98_7654_3210) // its low 48 bits
	check(t, "ICMPType", r.ICMPType(), 8)
}

func TestFilterAccessors(t *testing.T) {
	var r event.Record
	r.Reset(event.FilterLog)
	verify := setCommon(&r)
	r.SetFilter(0x0a0b0c0d, 0xf0f1f2f3, event.FilterOutput, 3, 13)
	verify(t)
	check(t, "Filter", r.Filter(), 0x0a0b0c0d)
	check(t, "Term", r.Term(), 0xf0f1f2f3)
	check(t, "FilterSource", r.FilterSource(), event.FilterOutput)
	check(t, "ICMPType", r.ICMPType(), 3)
	check(t, "ICMPCode", r.ICMPCode(), 13)
}

func TestScreens(t *testing.T) {
	names := map[string]bool{}
	for s := range event.Screen(event.NumScreens) {
		names[s.String()] = true
		if s == event.ScreenExtended {
			continue
		}
		var r event.Record
		r.Reset(event.ScreenDrop)
		verify := setCommon(&r)
		r.SetScreen(s)
		verify(t)
		check(t, "Screen", r.Screen(), s)
	}
	check(t, "different names", len(names), event.NumScreens)
	check(t, "name of no screen", event.Screen(event.NumScreens).String(), "unknown")
}

// TestScreenMask pins that a mask which names no screen, or several, is not taken for one.
func TestScreenMask(t *testing.T) {
	for _, c := range []struct{ mask, cause uint32 }{
		{0, 0}, {3, 0}, {1 << 31, 0}, {1 << 31, 5}, {1 << 31, event.NumScreens}, {1<<31 | 1, uint32(event.ScreenBlockFrag)},
	} {
		var r event.Record
		r.Reset(event.ScreenDrop)
		p := r.Payload()
		for i := range 4 {
			p[44+i], p[56+i] = byte(c.mask>>(8*i)), byte(c.cause>>(8*i))
		}
		if got := r.Screen(); got != event.NumScreens {
			t.Errorf("mask %#x, cause %d: %v", c.mask, c.cause, got)
		}
	}
}

func TestLossAccessors(t *testing.T) {
	var r event.Record
	r.Reset(event.Loss)
	want := event.LossCounts{1 << 40, 2 << 40, 3 << 40, 4 << 40, 5 << 40}
	r.SetLoss(event.LossEvicted, 0x0304, &want, 11, 12)
	r.SetSeq(7)
	if diff := cmp.Diff(want, r.LossCounts()); diff != "" {
		t.Errorf("LossCounts (-want +got):\n%s", diff)
	}
	check(t, "Total", want.Total(), 15<<40)
	check(t, "LossReason", r.LossReason(), event.LossEvicted)
	check(t, "InZone", r.InZone(), 0x0304)
	check(t, "LossSince", r.LossSince(), 11)
	check(t, "Time", r.Time(), 12)
	check(t, "Src", r.Src(), netip.Addr{})
	var again event.Record
	if _, err := again.Decode(r.Frame()); err != nil || again != r {
		t.Errorf("a loss record does not survive its frame: %v", err)
	}
	for reason, name := range map[event.LossReason]string{
		event.LossRateLimited: "rate_limited", event.LossOverBudget: "over_budget", event.LossEvicted: "evicted", 0: "unknown", 99: "unknown",
	} {
		check(t, "reason", reason.String(), name)
	}
}

func TestKinds(t *testing.T) {
	var none, all event.KindSet
	for i, k := range event.Kinds() {
		check(t, "order", int(k), i)
		got, ok := event.ParseKind(k.String())
		check(t, "ParseKind", got, k)
		check(t, "known", ok, true)
		check(t, "in no set", none.Has(k), false)
		all = all.With(k)
	}
	check(t, "AllKinds", all, event.AllKinds)
	check(t, "one kind", none.With(event.FilterLog).Has(event.Loss), false)
	if _, ok := event.ParseKind("session"); ok {
		t.Error("a kind that does not exist was found")
	}
	check(t, "name of no kind", event.Kind(event.NumKinds).String(), "kind-6")
	for k, want := range map[event.Kind]bool{
		event.SessionOpen: false, event.SessionClose: false, event.Loss: false,
		event.PolicyDeny: true, event.ScreenDrop: true, event.FilterLog: true,
	} {
		check(t, k.String(), k.Telemetry(), want)
	}
}

func TestNames(t *testing.T) {
	n := &event.Names{
		Zones:        map[uint16]string{1: "trust"},
		Policies:     []string{"", "web"},
		Filters:      []event.Filter{{}, {Name: "in", Terms: []string{"first"}}},
		Interfaces:   map[uint32]string{3: "ge-0/0/0.0"},
		Applications: []string{"", "junos-http"},
	}
	check(t, "Zone", n.Zone(1), "trust")
	check(t, "Zone", n.Zone(2), "")
	check(t, "Policy", n.Policy(1), "web")
	check(t, "Policy", n.Policy(math.MaxUint32), "")
	check(t, "Interface", n.Interface(3), "ge-0/0/0.0")
	check(t, "Interface", n.Interface(4), "")
	check(t, "Application", n.Application(1), "junos-http")
	check(t, "Application", n.Application(math.MaxUint16), "")
	for _, c := range []struct {
		filter, term     uint32
		wantName, wanted string
	}{{1, 0, "in", "first"}, {1, 1, "in", ""}, {2, 0, "", ""}, {math.MaxUint32, math.MaxUint32, "", ""}} {
		name, term := n.Term(c.filter, c.term)
		check(t, "filter", name, c.wantName)
		check(t, "term", term, c.wanted)
	}
}

func BenchmarkDecode(b *testing.B) {
	frame := unhex(b, worked()[0].hex)
	var r event.Record
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Decode(frame); err != nil {
			b.Fatal(err)
		}
	}
}

// TestTranslatedByAnyByte sets a single byte of a translated address: that end is translated.
func TestTranslatedByAnyByte(t *testing.T) {
	for i := range 16 {
		var a [16]byte
		a[i] = 1
		for _, ends := range [][2][16]byte{{a, {}}, {{}, a}} {
			var r event.Record
			r.Reset(event.SessionOpen)
			r.SetFlow(event.FamilyIPv6, 6, &[16]byte{1}, &[16]byte{2}, 1, 2)
			r.SetNAT(&ends[0], &ends[1], 3, 4)
			_, src := r.NATSrc()
			_, dst := r.NATDst()
			if !r.Translated() || src != (ends[0] == a) || dst != (ends[1] == a) {
				t.Errorf("%v: translated %v, source %v, destination %v", ends, r.Translated(), src, dst)
			}
		}
	}
}
