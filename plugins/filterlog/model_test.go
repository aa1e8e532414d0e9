package filterlog

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// naive judges a packet as the manual reads: term by term, condition by condition.
func naive(s options, p *hook.Packet) (hook.Verdict, hook.Finding) {
	if s.Family == "inet" && p.Family != packet.IPv4 || s.Family == "inet6" && p.Family != packet.IPv6 {
		return hook.Pass, hook.Finding{}
	}
	kind, logged := discard, -1
	for i, t := range s.Terms {
		if !naiveFrom(&t.From, p) {
			continue
		}
		does := accept
		for _, a := range t.Then {
			if a.log {
				logged = i
			}
			if a.decides() {
				does = a.kind
			}
		}
		if does != nextTerm {
			kind = does
			break
		}
	}
	var f hook.Finding
	if logged >= 0 {
		action := map[actionKind]event.Action{accept: 1, discard: 0, reject: 2}[kind]
		f = hook.Finding{Found: true, Kind: event.FilterLog, Action: action, Filter: 1, Term: uint32(logged), At: event.FilterInput}
	}
	return map[actionKind]hook.Verdict{accept: hook.Pass, discard: hook.Drop, reject: hook.Prohibit}[kind], f
}

func naiveFrom(f *from, p *hook.Packet) bool {
	src, dst := p.Src.Netip(p.Family), p.Dst.Netip(p.Family)
	ports := p.HasHead && slices.Contains([]uint8{6, 17, 132}, p.Proto)
	tcp := p.HasL4 && p.Proto == 6
	icmp := p.HasHead && (p.Proto == 1 || p.Proto == 58)

	ok := naiveAddress(f.Source, src) && naiveAddress(f.Destination, dst) &&
		(f.Address == nil || naiveAddress(f.Address, src) || naiveAddress(f.Address, dst))
	number := func(valid bool, v uint32, wanted, except []span) {
		if wanted != nil {
			ok = ok && valid && slices.ContainsFunc(wanted, func(s span) bool { return s.has(v) })
		}
		if except != nil {
			ok = ok && valid && !slices.ContainsFunc(except, func(s span) bool { return s.has(v) })
		}
	}
	number(true, uint32(p.Proto), spansOf(f.Protocol), spansOf(f.ProtocolExcept))
	number(true, uint32(p.Proto), spansOf(f.NextHeader), spansOf(f.NextHeaderExcept))
	number(true, uint32(p.Proto), spansOf(f.PayloadProtocol), spansOf(f.PayloadProtocolExcept))
	number(ports, uint32(p.SrcPort), spansOf(f.SourcePort), spansOf(f.SourcePortExcept))
	number(ports, uint32(p.DstPort), spansOf(f.DestinationPort), spansOf(f.DestinationPortExcept))
	number(ports, uint32(p.SrcPort), nil, spansOf(f.PortExcept))
	number(ports, uint32(p.DstPort), nil, spansOf(f.PortExcept))
	if f.Port != nil {
		ok = ok && ports && slices.ContainsFunc(f.Port, func(s port) bool {
			return s.has(uint32(p.SrcPort)) || s.has(uint32(p.DstPort))
		})
	}
	number(true, uint32(p.DSCP), spansOf(f.DSCP), spansOf(f.DSCPExcept))
	number(true, uint32(p.DSCP), spansOf(f.TrafficClass), spansOf(f.TrafficClassExcept))
	number(true, p.IPLen, spansOf(f.PacketLength), spansOf(f.PacketLengthExcept))
	number(true, uint32(p.TTL), spansOf(f.TTL), spansOf(f.TTLExcept))
	number(true, uint32(p.TTL), spansOf(f.HopLimit), spansOf(f.HopLimitExcept))
	number(true, uint32(p.FragOff/8), spansOf(f.FragmentOffset), spansOf(f.FragmentOffsetExcept))

	flag := func(s bitSet, v uint8) bool { return s>>v&1 == 1 }
	if f.TCPFlags != nil {
		ok = ok && tcp && slices.ContainsFunc(f.TCPFlags, func(s tcpFlags) bool { return flag(s.set, p.TCPFlags) })
	}
	if f.FragmentFlags != nil {
		ok = ok && slices.ContainsFunc(f.FragmentFlags, func(s fragFlags) bool { return flag(s.set, p.IPFlags) })
	}
	ok = ok && (!f.TCPInitial || tcp && p.TCPFlags&packet.SYN != 0 && p.TCPFlags&packet.ACK == 0)
	ok = ok && (!f.TCPEstablished || tcp && p.TCPFlags&(packet.ACK|packet.RST) != 0)
	ok = ok && (!f.IsFragment || p.FragOff > 0)
	ok = ok && (!f.FirstFragment || p.Fragment && p.FragOff == 0)

	which := 0
	if p.Proto == 58 {
		which = 1
	}
	per := func(l perICMP, v uint8) bool { return l.valid[which] && l.spans[which].has(uint32(v)) }
	hasType := func(t icmpType) bool { return per(t.perICMP, p.ICMPType) }
	hasCode := func(t icmpCode) bool { return per(t.perICMP, p.ICMPCode) }
	ok = ok && (f.ICMPType == nil || icmp && slices.ContainsFunc(f.ICMPType, hasType))
	ok = ok && (f.ICMPTypeExcept == nil || icmp && !slices.ContainsFunc(f.ICMPTypeExcept, hasType))
	ok = ok && (f.ICMPCode == nil || icmp && slices.ContainsFunc(f.ICMPCode, hasCode))
	ok = ok && (f.ICMPCodeExcept == nil || icmp && !slices.ContainsFunc(f.ICMPCodeExcept, hasCode))
	return ok
}

func naiveAddress(list []address, ip netip.Addr) bool {
	if list == nil {
		return true
	}
	longest, match := -1, false
	for _, a := range list {
		if a.prefix.Contains(ip) && a.prefix.Bits() >= longest {
			match = !a.except && (match || a.prefix.Bits() > longest)
			longest = a.prefix.Bits()
		}
	}
	return match
}

// TestModel compares compiled filters with the naive reading, on random filters and packets whose values are drawn from
// few, so that they meet often.
func TestModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	matched := 0
	for range 200 {
		text := "[hooks.f]\nplugin = \"filterlog\"\n" + randomFilter(rng)
		s, problems := config.ParseTable("test.toml", []byte(text), "hooks", "f")
		env := testEnv()
		inst := Plugin().Configure(s, env)
		want := decode(s, env.Zones)
		if err := problems.Err(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		for range 250 {
			p := randomPacket(rng)
			v, f := inspect(inst.Ingress, p)
			wantV, wantF := naive(want, &p)
			if v != wantV || f != wantF {
				t.Fatalf("%+v\ngot verdict %d and %+v,\nwant %d and %+v, from\n%s", p, v, f, wantV, wantF, text)
			}
			if f.Found {
				matched++
			}
		}
	}
	if matched < 5000 {
		t.Errorf("only %d of 50000 packets were logged: the filters and the packets do not meet", matched)
	}
}

// Values that filters and packets have in common.
var (
	someAddrs    = []string{"10.0.0.1", "10.0.0.2", "10.1.0.1", "192.0.2.1", "2001:db8::1", "2001:db8:1::1", "::ffff:10.0.0.1", "a00:1::"}
	somePrefixes = []string{
		"0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/16", "10.0.0.1", "10.0.0.1/32 except", "10.1.0.0/16 except", "192.0.2.0/24", "::/0",
		"2001:db8::/32", "2001:db8:1::/48 except", "::/64", "10.0.0.0/8 except", "2001:db8::1/128",
	}
	someNumbers = []string{"0", "1", "2", `"1-3"`, `"3-60"`, "6", "17", "58", `"5-20"`}
	someFlags   = []string{`"syn & !ack"`, `"ack | rst"`, `"!(fin , urgent)"`, "0x12", `"push+ack"`, `"syn & !syn"`}
)

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

func randomFilter(rng *rand.Rand) string {
	keys := []string{
		"protocol", "protocol-except", "next-header", "payload-protocol-except", "source-port", "source-port-except",
		"destination-port", "destination-port-except", "icmp-type", "icmp-type-except", "icmp-code", "fragment-offset",
		"fragment-offset-except", "dscp", "dscp-except", "traffic-class", "packet-length", "packet-length-except", "ttl",
		"ttl-except", "hop-limit", "port", "port-except",
		"source-address", "destination-address", "address", "source-address", "destination-address", "source-prefix-list", "prefix-list",
		"tcp-flags", "tcp-initial", "tcp-established", "is-fragment", "first-fragment", "fragment-flags",
	}
	var b strings.Builder
	fmt.Fprintf(&b, "family = %q\n", pick(rng, []string{"any", "any", "any", "inet", "inet6"}))
	b.WriteString("prefix-lists = { l = [\"10.0.0.0/8\", \"2001:db8::/32\"] }\n")
	family := strings.Contains(b.String(), `"any"`)
	for i := range 1 + rng.IntN(1+rng.IntN(150)) {
		fmt.Fprintf(&b, "[[hooks.f.term]]\nname = \"t%d\"\nthen = %s\n", i, pick(rng, []string{
			`["log", "discard"]`, `["log", "accept"]`, `"reject"`, `"next term"`, `["log", "next term"]`, `"count c"`, `["syslog", "reject"]`,
		}))
		b.WriteString("from = {")
		used := make(map[string]bool)
		for range rng.IntN(4) {
			key := pick(rng, keys)
			ports := key == "port" || key == "port-except"
			if used[key] || ports && (used["source-port"] || used["destination-port"]) ||
				(key == "source-port" || key == "destination-port") && (used["port"] || used["port-except"]) ||
				strings.HasSuffix(key, "address") && !family {
				continue
			}
			if key == "icmp-code" {
				if used["icmp-type"] {
					continue
				}
				used["icmp-type"] = true
				b.WriteString(` icmp-type = ["0-128"],`)
			}
			used[key] = true
			fmt.Fprintf(&b, " %s = %s,", key, randomValue(rng, key))
		}
		b.WriteString(" }\n")
	}
	return strings.ReplaceAll(b.String(), ", }", " }")
}

func randomValue(rng *rand.Rand, key string) string {
	switch {
	case strings.HasSuffix(key, "-address") || key == "address":
		list := []string{`"` + pick(rng, []string{"0.0.0.0/0", "10.0.0.0/8", "2001:db8::/32"}) + `"`}
		for range rng.IntN(4) {
			list = append(list, `"`+pick(rng, somePrefixes)+`"`)
		}
		return "[" + strings.Join(list, ", ") + "]"
	case strings.HasSuffix(key, "prefix-list"):
		return `"l"`
	case key == "tcp-flags":
		return "[" + pick(rng, someFlags) + ", " + pick(rng, someFlags) + "]"
	case key == "fragment-flags":
		return pick(rng, []string{`"more-fragments"`, `"!dont-fragment"`, `"may-fragment | reserved"`, "0x6000"})
	case strings.HasPrefix(key, "tcp-") || strings.HasSuffix(key, "-fragment"):
		return "true"
	}
	return "[" + pick(rng, someNumbers) + ", " + pick(rng, someNumbers) + "]"
}

func randomPacket(rng *rand.Rand) hook.Packet {
	var p hook.Packet
	src := netip.MustParseAddr(pick(rng, someAddrs))
	dst := netip.MustParseAddr(pick(rng, someAddrs))
	for dst.Is4() != src.Is4() {
		dst = netip.MustParseAddr(pick(rng, someAddrs))
	}
	p.Src, p.Family = packet.AddrFrom(src)
	p.Dst, _ = packet.AddrFrom(dst)
	p.Proto = pick(rng, []uint8{1, 6, 6, 17, 17, 58, 132, 47, 0, 255})
	small := func() uint16 { return pick(rng, []uint16{0, 1, 2, 3, 4, 6, 17, 20, 21, 58, 60, 61, 65535}) }
	p.SrcPort, p.DstPort = small(), small()
	p.TCPFlags = uint8(rng.IntN(64))
	p.ICMPType, p.ICMPCode = uint8(small()), uint8(small())
	p.DSCP, p.TTL, p.IPFlags = uint8(small())&63, uint8(small()), uint8(rng.IntN(8))
	p.IPLen = uint32(small())
	if rng.IntN(50) == 0 {
		p.IPLen = 65575
	}
	p.HasHead, p.HasL4 = true, true
	switch rng.IntN(4) {
	case 0:
		p.Fragment, p.HasHead, p.HasL4, p.FragOff = true, false, false, 8*(1+small()%8191)
	case 1:
		p.Fragment = true
	}
	return p
}

// TestSpares compares what a filter spares with what it does with packets that are like one that it has spared.
func TestSpares(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	spared := 0
	for range 400 {
		body := strings.ReplaceAll(randomFilter(rng), `["syslog", "reject"]`, `"accept"`)
		inst := load(t, body)
		for range 250 {
			p := randomPacket(rng)
			if p.Proto = pick(rng, []uint8{packet.ProtoTCP, packet.ProtoUDP}); p.Fragment {
				continue
			}
			p.TCPFlags, p.IPFlags, p.ICMPType, p.ICMPCode = packet.ACK, 0, 0, 0
			if !inst.Ingress.(hook.Sparing).Spares(&p) {
				continue
			}
			spared++
			before := inst.Counters()
			for range 20 {
				like := p
				if like.TCPFlags |= uint8(rng.IntN(2)) * packet.PSH; p.Proto != packet.ProtoTCP {
					like.TCPFlags = 0
				}
				like.IPLen, like.DSCP, like.TTL = uint32(rng.IntN(65536)), uint8(rng.IntN(64)), uint8(2+rng.IntN(254))
				if p.Family == packet.IPv4 {
					like.IPFlags = uint8(rng.IntN(2)) * packet.DontFragment
				}
				if v, f := inspect(inst.Ingress, like); v != hook.Pass || f.Found {
					t.Fatalf("%+v is spared, and of %+v the verdict is %d and the finding %+v, from\n%s", p, like, v, f, body)
				}
			}
			if after := inst.Counters(); !slices.Equal(before, after) {
				t.Fatalf("%+v is spared, and counted: %v, %v, from\n%s", p, before, after, body)
			}
		}
	}
	if spared < 1000 {
		t.Errorf("only %d packets were spared", spared)
	}
}

// TestSparesWhat reads filters: what they spare.
func TestSparesWhat(t *testing.T) {
	for _, test := range []struct {
		name, terms string
		want        bool
	}{
		{"everything", `{ name = "a" }`, true},
		{"nothing", ``, false},
		{"a counter elsewhere", `{ name = "a", from = { protocol = "udp" }, then = "count c" }, { name = "b" }`, true},
		{"a counter", `{ name = "a", from = { protocol = "tcp" }, then = "count c" }, { name = "b" }`, false},
		{"a counter behind", `{ name = "a" }, { name = "b", then = "count c" }`, true},
		{"a counter in passing", `{ name = "a", then = ["count c", "next term"] }, { name = "b" }`, false},
		{"a log of beginnings", `{ name = "a", from = { tcp-initial = true }, then = ["log", "accept"] }, { name = "b" }`, true},
		{"established", `{ name = "a", from = { tcp-established = true } }, { name = "b", then = ["log", "discard"] }`, true},
		{"a push", `{ name = "a", from = { tcp-flags = "push" }, then = ["log", "accept"] }, { name = "b" }`, false},
		{"long packets", `{ name = "a", from = { packet-length = "1000-1500" }, then = "discard" }, { name = "b" }`, false},
		{"long packets that pass", `{ name = "a", from = { packet-length = "1000-1500" } }, { name = "b" }`, true},
		{"short packets end", `{ name = "a", from = { packet-length = "1000-1500" } }`, false},
		{"classes", `{ name = "a", from = { dscp = "ef" }, then = ["count c", "accept"] }, { name = "b" }`, false},
		{"fragments", `{ name = "a", from = { is-fragment = true }, then = "discard" }, { name = "b" }`, true},
	} {
		p := tcp(t, packet.ACK, 443)
		if got := load(t, "term = ["+test.terms+"]").Ingress.(hook.Sparing).Spares(&p); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
	attached := load(t, "attach = { input = [\"lan0\"] }\nterm = [{ name = \"a\", then = \"count c\" }]")
	if p := tcp(t, packet.ACK, 443); !attached.Ingress.(hook.Sparing).Spares(&p) {
		t.Error("a packet of another interface is not spared")
	}
}

func (s span) has(v uint32) bool { return s.lo <= v && v <= s.hi }
