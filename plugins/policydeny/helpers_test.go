package policydeny

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk/event"
)

// Zones of every test.
const (
	trust   = 1
	untrust = 2
	dmz     = 30
)

// predefined is shared by all tests: it is immutable and takes a while to build.
var predefined = application.Predefined()

func testEnv(workers int) hook.Env {
	return hook.Env{
		Workers: workers,
		Zones: zone.New([]zone.Zone{{ID: trust, Name: "trust"}, {ID: untrust, Name: "untrust"}, {ID: dmz, Name: "dmz"}},
			nil, nil),
		Apps:  predefined,
		Names: hook.NewNameBuilder(),
	}
}

// build returns the hook for the table [hooks.policies] of the text, and what is wrong with it.
func build(text string, env hook.Env) (hook.Instance, *config.Problems) {
	cfg, problems := config.ParseTable("policy.toml", []byte(text), "hooks", "policies")
	return Plugin().Configure(cfg, env), problems
}

// fixture is a hook and what its ids mean.
type fixture struct {
	hook.Instance
	names event.Names
}

func load(t testing.TB, text string) fixture {
	t.Helper()
	env := testEnv(2)
	inst, problems := build(text, env)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	x := fixture{Instance: inst}
	env.Names.Fill(&x.names)
	return x
}

// result is what came of one packet, ids resolved.
type result struct {
	Verdict hook.Verdict
	Policy  string // of the permit or the finding; "" if there is neither
	Found   bool
	Action  event.Action
	NoOpen  bool
	NoClose bool
	Timeout uint32
}

func (x *fixture) decide(p hook.Packet) result {
	var (
		permit hook.Permit
		f      hook.Finding
	)
	v := x.Session.Decide(&p, &permit, &f)
	r := result{Verdict: v, Found: f.Found, Action: f.Action, NoOpen: permit.NoOpen, NoClose: permit.NoClose, Timeout: permit.Timeout}
	switch {
	case v == hook.Pass:
		r.Policy = strings.TrimSuffix(x.names.Policy(permit.Policy), "(global)")
	case f.Found:
		r.Policy = strings.TrimSuffix(x.names.Policy(f.Policy), "(global)")
	}
	return r
}

// pkt returns a packet with a transport header.
func pkt(in, out uint16, proto uint8, src, dst string, dstPort uint16) hook.Packet {
	var p hook.Packet
	p.Src, p.Family = packet.AddrFrom(netip.MustParseAddr(src))
	p.Dst, _ = packet.AddrFrom(netip.MustParseAddr(dst))
	p.Proto, p.SrcPort, p.DstPort, p.HasHead = proto, 40000, dstPort, true
	p.IPLen = 60
	p.InZone, p.OutZone = in, out
	p.App = predefined.Service(proto, dstPort)
	return p
}
