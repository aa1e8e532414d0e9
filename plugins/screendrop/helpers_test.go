package screendrop

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk/event"
)

const (
	untrust = 2
	dmz     = 3
	second  = int64(1e9)
	start   = 1000 * second
)

func testEnv() hook.Env {
	zones := zone.New([]zone.Zone{
		{ID: untrust, Name: "untrust", Interfaces: []string{"wan0"}}, {ID: dmz, Name: "dmz", Interfaces: []string{"dmz0"}},
	}, nil, nil)
	return hook.Env{Workers: 2, Zones: zones, Names: hook.NewNameBuilder()}
}

// load builds the hook from the body of its table; zones = ["untrust"] is there already.
func load(tb testing.TB, body string) hook.Instance {
	tb.Helper()
	return loadTable(tb, "[hooks.screens]\nplugin = \"screendrop\"\nzones = [\"untrust\"]\n"+body, "screens")
}

func loadTable(tb testing.TB, text, name string) hook.Instance {
	tb.Helper()
	s, problems := config.ParseTable("test.toml", []byte(text), "hooks", name)
	inst := Plugin().Configure(s, testEnv())
	if err := problems.Err(); err != nil {
		tb.Fatalf("configuration refused:\n%v\n%s", err, text)
	}
	return inst
}

// allScreens has all thirty screens on.
const allScreens = `
tcp  = { syn-flood = true, port-scan = true, tcp-sweep = true, syn-fin = true, tcp-no-flag = true, fin-no-ack = true, land = true, winnuke = true, syn-frag = true }
udp  = { flood = true, port-scan = true, udp-sweep = true }
icmp = { flood = true, ip-sweep = true, ping-death = true, fragment = true, large = true }
ip   = { block-frag = true, bad-option = true, source-route-option = true, loose-source-route-option = true, strict-source-route-option = true, record-route-option = true, timestamp-option = true, security-option = true, stream-option = true, unknown-protocol = true, tear-drop = true }
`

func addr(tb testing.TB, text string) (packet.Addr, packet.Family) {
	tb.Helper()
	ip, err := netip.ParseAddr(text)
	if err != nil {
		tb.Fatal(err)
	}
	return packet.AddrFrom(ip)
}

// pkt is a packet of that protocol in zone untrust, with its transport header read.
func pkt(tb testing.TB, proto uint8, src, dst string) hook.Packet {
	tb.Helper()
	var p hook.Packet
	p.Time, p.InZone = start, untrust
	p.Src, p.Family = addr(tb, src)
	p.Dst, _ = addr(tb, dst)
	p.Proto, p.HasHead, p.HasL4 = proto, true, true
	p.IPLen, p.DataLen = 60, 40
	return p
}

func tcp(tb testing.TB, flags uint8) hook.Packet {
	p := pkt(tb, packet.ProtoTCP, "203.0.113.9", "10.0.0.1")
	p.SrcPort, p.DstPort, p.TCPFlags = 40000, 80, flags
	return p
}

func udp(tb testing.TB) hook.Packet {
	p := pkt(tb, packet.ProtoUDP, "203.0.113.9", "10.0.0.1")
	p.SrcPort, p.DstPort = 40000, 53
	return p
}

func icmp(tb testing.TB) hook.Packet {
	p := pkt(tb, packet.ProtoICMP, "203.0.113.9", "10.0.0.1")
	p.ICMPType = packet.ICMPEchoRequest
	return p
}

// host sets the last four bytes of an address.
func host(a *packet.Addr, f packet.Family, n uint32) {
	at := 0
	if f == packet.IPv6 {
		at = 12
	}
	binary.BigEndian.PutUint32(a[at:], n)
}

// seen is what the hook said of one packet that begins a flow, for comparing: "pass", "drop", and behind it the event.
func seen(inst hook.Instance, p hook.Packet) string {
	var f hook.Finding
	v := inst.Ingress.Inspect(&p, &f)
	if v == hook.Pass && !f.Found && inst.Session != nil {
		v = inst.Session.Decide(&p, new(hook.Permit), &f)
		f.Remember = false // for the worker alone
	}
	text := map[hook.Verdict]string{hook.Pass: "pass", hook.Drop: "drop", hook.Reject: "reject"}[v]
	if !f.Found {
		if f != (hook.Finding{}) {
			return text + " with a finding that is not Found"
		}
		return text
	}
	if f.Kind != event.ScreenDrop {
		return text + " with a finding of kind " + f.Kind.String()
	}
	switch f.Action {
	case event.ActionDeny:
		text += ", drop: "
	case event.ActionPermit:
		text += ", alarm: "
	default:
		text += ", another action: "
	}
	return text + f.Screen.String()
}
