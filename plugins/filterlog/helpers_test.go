package filterlog

import (
	"net/netip"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk/event"
)

const (
	wan0   = 7
	trust  = 1
	server = 3
)

func testEnv() hook.Env {
	zones := zone.New([]zone.Zone{
		{ID: trust, Name: "trust", Interfaces: []string{"lan0"}},
		{ID: 2, Name: "untrust", Interfaces: []string{"wan0", "wan0.100"}},
		{ID: server, Name: "servers", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.3.0.0/16")}},
	}, nil, map[string]uint32{"wan0": wan0, "lan0": 8})
	return hook.Env{Workers: 2, Zones: zones, Names: hook.NewNameBuilder()}
}

// load builds the hook from the body of its table.
func load(tb testing.TB, body string) hook.Instance {
	tb.Helper()
	inst, _ := loadTable(tb, "[hooks.f]\nplugin = \"filterlog\"\n"+body, "f")
	return inst
}

func loadTable(tb testing.TB, text, name string) (hook.Instance, *event.Names) {
	tb.Helper()
	env := testEnv()
	s, problems := config.ParseTable("test.toml", []byte(text), "hooks", name)
	inst := Plugin().Configure(s, env)
	if err := problems.Err(); err != nil {
		tb.Fatalf("configuration refused:\n%v\n%s", err, text)
	}
	var names event.Names
	env.Names.Fill(&names)
	return inst, &names
}

// decodeTest reads the body of a table that load accepts.
func decodeTest(tb testing.TB, body string) options {
	tb.Helper()
	c, problems := config.ParseTable("test.toml", []byte("[hooks.f]\nplugin = \"filterlog\"\n"+body), "hooks", "f")
	s := decode(c, testEnv().Zones)
	if err := problems.Err(); err != nil {
		tb.Fatal(err)
	}
	return s
}

// pkt is a packet of that protocol with its transport header read, on wan0.
func pkt(tb testing.TB, proto uint8, src, dst string) hook.Packet {
	tb.Helper()
	var p hook.Packet
	p.Interface, p.InZone = wan0, 2
	p.Src, p.Family = packet.AddrFrom(netip.MustParseAddr(src))
	p.Dst, _ = packet.AddrFrom(netip.MustParseAddr(dst))
	p.Proto, p.HasHead, p.HasL4 = proto, true, true
	p.IPLen, p.DataLen, p.TTL = 60, 40, 64
	return p
}

func tcp(tb testing.TB, flags uint8, port uint16) hook.Packet {
	p := pkt(tb, packet.ProtoTCP, "198.51.100.1", "10.0.0.1")
	p.SrcPort, p.DstPort, p.TCPFlags = 40000, port, flags
	return p
}

func udp(tb testing.TB, src, dst uint16) hook.Packet {
	p := pkt(tb, packet.ProtoUDP, "198.51.100.1", "10.0.0.1")
	p.SrcPort, p.DstPort = src, dst
	return p
}

func icmp(tb testing.TB, proto, typ, code uint8) hook.Packet {
	p := pkt(tb, proto, "198.51.100.1", "10.0.0.1")
	if proto == packet.ProtoICMPv6 {
		p = pkt(tb, proto, "2001:db8::1", "2001:db8::2")
	}
	p.ICMPType, p.ICMPCode = typ, code
	p.SrcPort, p.DstPort = 53, 53 // identifier and sequence
	return p
}

func laterFragment(p hook.Packet) hook.Packet {
	p.Fragment, p.FragOff, p.HasHead, p.HasL4 = true, 1480, false, false
	p.SrcPort, p.DstPort, p.TCPFlags, p.ICMPType, p.ICMPCode = 0, 0, 0, 0, 0
	return p
}

func firstFragment(p hook.Packet) hook.Packet {
	p.Fragment, p.IPFlags = true, packet.MoreFragments
	return p
}

func with(p hook.Packet, change func(*hook.Packet)) hook.Packet {
	change(&p)
	return p
}

// inspect is what a hook says of one packet.
func inspect(h hook.Hook, p hook.Packet) (hook.Verdict, hook.Finding) {
	var f hook.Finding
	v := h.Inspect(&p, &f)
	return v, f
}
