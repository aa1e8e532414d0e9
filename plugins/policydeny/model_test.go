package policydeny

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
)

// model decides straight from the options, word by word and packet by packet, without anything the hook compiles.
type model struct {
	s    *options
	apps *application.Table // predefined
}

func (m *model) decide(p *hook.Packet) result {
	isGlobal := func(pol *policyOptions) bool {
		return slices.Contains(pol.From, "any") || slices.Contains(pol.To, "any")
	}
	for _, globals := range []bool{false, true} {
		for i := range m.s.Policies {
			pol := &m.s.Policies[i]
			if !pol.enabled() || isGlobal(pol) != globals || !zoneIn(pol.From, p.InZone) || !zoneIn(pol.To, p.OutZone) {
				continue
			}
			if !m.side(pol.Source, pol.SourceExcluded, p.Src.Netip(p.Family)) ||
				!m.side(pol.Destination, pol.DestinationExcluded, p.Dst.Netip(p.Family)) {
				continue
			}
			if timeout, ok := m.anyApplication(pol.Application, &p.Headers); ok {
				return m.outcome(pol, timeout, p)
			}
		}
	}
	def := policyOptions{Name: "default-" + m.s.Default, Then: m.s.Default}
	if !m.s.LogDefault {
		def.Log = []string{}
	}
	return m.outcome(&def, 0, p)
}

func (m *model) outcome(pol *policyOptions, timeout uint32, p *hook.Packet) result {
	logs := func(word string) bool { return pol.Log == nil || slices.Contains(pol.Log, word) }
	if pol.Then == "permit" {
		if timeout == 0 {
			timeout = m.apps.Timeout(p.App)
		}
		if pol.Timeout != 0 {
			timeout = uint32(pol.Timeout)
		}
		return result{
			Verdict: hook.Pass, Policy: pol.Name, NoOpen: !logs("session-init"), NoClose: !logs("session-close"),
			Timeout: timeout,
		}
	}
	r := result{Verdict: hook.Drop}
	if pol.Then == "reject" && p.HasHead && (p.Proto == 6 || p.Proto == 17) {
		r.Verdict = hook.Reject
	}
	if logs("session-init") {
		r.Found, r.Policy = true, pol.Name
		if pol.Then == "reject" {
			r.Action = event.ActionReject
		}
	}
	return r
}

func zoneIn(list []string, zone uint16) bool {
	names := map[uint16]string{trust: "trust", untrust: "untrust", dmz: "dmz"}
	return slices.Contains(list, "any") || names[zone] != "" && slices.Contains(list, names[zone])
}

// side reports whether the address is one of the list's, or, if it is excluded, of one of its families and not listed.
func (m *model) side(list []string, excluded bool, a netip.Addr) bool {
	if list == nil {
		list = []string{"any"}
	}
	prefixes := m.prefixes(list)
	listed := slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	if !excluded {
		return listed
	}
	family := slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Addr().BitLen() == a.BitLen() })
	return family && !listed
}

func (m *model) prefixes(list []string) (all []netip.Prefix) {
	for _, word := range list {
		switch members, named := m.s.Addresses[word]; {
		case named:
			all = append(all, m.prefixes(members)...)
		case word == "any":
			all = append(all, m.prefixes([]string{"any-ipv4", "any-ipv6"})...)
		case word == "any-ipv4":
			all = append(all, netip.MustParsePrefix("0.0.0.0/0"))
		case word == "any-ipv6":
			all = append(all, netip.MustParsePrefix("::/0"))
		default:
			p, err := netip.ParsePrefix(word)
			if err != nil {
				a := netip.MustParseAddr(word)
				p = netip.PrefixFrom(a, a.BitLen())
			}
			all = append(all, p)
		}
	}
	return all
}

func (m *model) anyApplication(list []string, h *packet.Headers) (timeout uint32, ok bool) {
	if list == nil || slices.Contains(list, "any") {
		return 0, true
	}
	for _, name := range list {
		if timeout, ok := m.application(name, h); ok {
			return timeout, true
		}
	}
	return 0, false
}

func (m *model) application(name string, h *packet.Headers) (timeout uint32, ok bool) {
	def, own := m.s.Applications[name]
	if !own {
		terms, _ := m.apps.Resolve(name)
		for i := range terms {
			if terms[i].Match(h) {
				return terms[i].Timeout, true
			}
		}
		return 0, false
	}
	for _, member := range def.Members {
		if timeout, ok := m.application(member, h); ok {
			return timeout, true
		}
	}
	terms := def.Terms
	if def.Protocol.Text != "" {
		terms = []application.TermDefinition{def.TermDefinition}
	}
	for _, t := range terms {
		proto, _ := application.ParseProtocol(t.Protocol.Text)
		if proto == h.Proto && portIn(t.SourcePort, h.SrcPort, h.HasHead) && portIn(t.DestinationPort, h.DstPort, h.HasHead) &&
			numberIs(t.ICMPType, h.ICMPType, h.HasHead) && numberIs(t.ICMPCode, h.ICMPCode, h.HasHead) {
			return uint32(t.InactivityTimeout), true
		}
	}
	return 0, false
}

func portIn(list application.Ports, port uint16, known bool) bool {
	whole := func(r application.Range) bool { return r.Lo == 0 && r.Hi == 65535 }
	return list == nil || slices.ContainsFunc(list, whole) ||
		known && slices.ContainsFunc(list, func(r application.Range) bool { return r.Lo <= port && port <= r.Hi })
}

func numberIs(want *uint8, n uint8, known bool) bool { return want == nil || known && *want == n }

// randomOptions draws policies that overlap a good deal.
func randomOptions(r *rand.Rand, most int) options {
	s := defaults()
	s.Default = pick(r, "deny", "permit")
	s.LogDefault = r.IntN(2) == 0
	prefix := func() string { return randomPrefix(r).String() }
	several := func(n int, draw func() string) []string {
		list := make([]string, 1+r.IntN(n))
		for i := range list {
			list[i] = draw()
		}
		return list
	}
	s.Addresses = map[string][]string{"few": several(3, prefix), "many": several(40, prefix)}
	s.Addresses["set"] = append(several(2, prefix), "few")
	number := func() *uint8 { return new(uint8(r.IntN(3))) }
	port := func() application.Ports {
		lo := uint16(r.IntN(4))
		return application.Ports{{Lo: lo, Hi: lo + uint16(r.IntN(3))}, {Lo: 443, Hi: pick(r, uint16(443), 65535)}}
	}
	s.Applications = map[string]application.Definition{
		"ports": {TermDefinition: application.TermDefinition{
			Protocol: application.Protocol{Text: pick(r, "tcp", "17", "sctp")}, DestinationPort: port(),
			InactivityTimeout: application.Timeout(r.IntN(3)),
		}},
		"terms": {Terms: []application.TermDefinition{
			{Protocol: application.Protocol{Text: "tcp"}, SourcePort: port(), InactivityTimeout: 5},
			{Protocol: application.Protocol{Text: pick(r, "icmp", "icmp6")}, ICMPType: number(), ICMPCode: pick(r, nil, number())},
		}},
		"web": {Members: []string{"junos-https", "ports"}},
	}
	zones := func() []string {
		if r.IntN(3) == 0 {
			return []string{"any"}
		}
		return several(2, func() string { return pick(r, "trust", "untrust", "dmz") })
	}
	side := func() []string {
		switch r.IntN(5) {
		case 0:
			return nil
		case 1:
			return []string{"any"}
		default:
			return several(pick(r, 2, 4, 4, 30), func() string {
				return pick(r, "any-ipv4", "any-ipv6", "few", "many", "set", prefix(), prefix(), prefix())
			})
		}
	}
	for i := range 1 + r.IntN(most) {
		p := policyOptions{
			Name: fmt.Sprint("p", i), From: zones(), To: zones(), Source: side(), Destination: side(),
			Then: pick(r, "permit", "deny", "reject"),
		}
		p.SourceExcluded = p.Source != nil && r.IntN(4) == 0
		p.DestinationExcluded = p.Destination != nil && r.IntN(4) == 0
		if r.IntN(3) > 0 {
			p.Application = several(3, func() string {
				return pick(r, "ports", "terms", "web", "junos-https", "junos-http", "junos-tcp-any", "junos-icmp-all", "junos-gre")
			})
		}
		if r.IntN(2) == 0 {
			p.Log = pick(r, []string{}, []string{"session-init"}, []string{"session-close", "session-init"})
		}
		if p.Then == "permit" {
			p.Timeout = application.Timeout(r.IntN(3))
		}
		if r.IntN(8) == 0 {
			p.Enabled = new(false)
		}
		s.Policies = append(s.Policies, p)
	}
	return s
}

// randomPacket draws packets at the borders of random prefixes.
func randomPacket(r *rand.Rand) hook.Packet {
	var p hook.Packet
	src := pick(r, borders(randomPrefix(r))...)
	dst := pick(r, borders(randomPrefix(r))...)
	for dst.BitLen() != src.BitLen() {
		dst = pick(r, borders(randomPrefix(r))...)
	}
	p.Src, p.Family = packet.AddrFrom(src)
	p.Dst, _ = packet.AddrFrom(dst)
	p.Proto = pick[uint8](r, 1, 6, 6, 6, 17, 47, 50, 58, 132)
	if p.HasHead = r.IntN(6) > 0; p.HasHead {
		p.SrcPort, p.DstPort = uint16(r.IntN(8)), pick(r, uint16(r.IntN(8)), 80, 443, 443, 444, 65535)
		p.ICMPType, p.ICMPCode = uint8(r.IntN(4)), uint8(r.IntN(4))
	}
	p.InZone, p.OutZone = pick[uint16](r, 0, trust, untrust, dmz, 7), pick[uint16](r, 0, trust, untrust, dmz, 7)
	p.App = predefined.Service(p.Proto, p.DstPort)
	return p
}

// TestDecideAgainstModel compares the compiled policies with the model on random policies and packets: 10,000 rule bases, in
// parts that run at the same time.
func TestDecideAgainstModel(t *testing.T) {
	const parts = 8
	bases := 10_000
	if race.Enabled {
		bases = 2500
	}
	var all [parts]tried
	t.Run("parts", func(t *testing.T) {
		for part := range all {
			t.Run(fmt.Sprint(part), func(t *testing.T) {
				t.Parallel()
				all[part] = decideAgainstModel(t, rand.New(rand.NewPCG(3, uint64(part))), bases/parts)
			})
		}
	})
	sum := tried{deciders: make(map[string]int)}
	for _, part := range all {
		sum.tables += part.tables
		sum.warned += part.warned
		for name, n := range part.deciders {
			sum.deciders[name] += n
		}
	}
	if sum.tables < 300 || sum.warned < 50 || sum.deciders["p0"] == 0 || sum.deciders["p9"] == 0 || sum.deciders["default-deny"] == 0 {
		t.Errorf("the random cases are too poor: %+v", sum)
	}
}

// tried is what random cases had in them.
type tried struct {
	tables   int // that load
	warned   int // policies that never decide
	deciders map[string]int
}

func decideAgainstModel(t *testing.T, r *rand.Rand, bases int) tried {
	done := tried{deciders: make(map[string]int)}
	for range bases {
		s := randomOptions(r, pick(r, 1, 5, 20, 20, 60))
		env := testEnv(1)
		cfg, problems := config.ParseTable("random.toml", nil)
		e := compile(&s, &trackedConfig{Config: cfg}, env)
		x := fixture{Instance: hook.Instance{Session: e}}
		if problems.Err() != nil {
			continue // an exclusion of everything, or sides without a common family
		}
		done.tables++
		env.Names.Fill(&x.names)
		shadowed := make(map[string]bool)
		for _, w := range problems.All() {
			if w.Key == "applications" || w.Key == "addresses" || w.Key == "policy" {
				continue // not used, or none
			}
			var i int
			if _, err := fmt.Sscanf(w.Key, "policy[%d]", &i); err != nil {
				t.Fatalf("a warning at %q", w.Key)
			}
			shadowed[s.Policies[i].Name] = true
		}
		done.warned += len(shadowed)
		m := model{s: &s, apps: env.Apps}
		var packets [30]hook.Packet
		var beforehand []*hook.Packet
		for i := range packets {
			packets[i] = randomPacket(r)
			packets[i].Place = i
			beforehand = append(beforehand, &packets[i])
		}
		other := *e
		other.workers = []worker{{scratch: e.index.newScratch()}}
		fetched := fixture{Instance: hook.Instance{Session: newPrefetching(&other)}, names: x.names}
		fetched.Session.(hook.Prefetcher).Prefetch(beforehand)
		for i, p := range packets {
			got, want := x.decide(p), m.decide(&p)
			if i%8 == 7 {
				p.Place = i - 1 // another packet's
			}
			if again := fetched.decide(p); again != got {
				t.Fatalf("%+v\nof %+v\nis %+v, and %+v if its memory was fetched", p, s, got, again)
			}
			if shadowed[want.Policy] {
				t.Fatalf("%s decides %+v\nof %+v\nand the hook warned that it never does", want.Policy, p, s)
			}
			if got != want {
				t.Fatalf("%+v\nof %+v\nis %+v, want %+v", p, s, got, want)
			}
			done.deciders[want.Policy]++
		}
	}
	return done
}

// FuzzHook: whatever loads decides as the model does, and nothing panics. raw is one packet's headers.
func FuzzHook(f *testing.F) {
	f.Add(sample, []byte("\x06\x01\x01\x02\x0a\x01\x02\x03\xc6\x33\x64\x01\x9c\x40\x01\xbb"))
	f.Add("[hooks.policies.addresses]\na = ['b', '10.0.0.0/8']\nb = ['::/0', '1.2.3.4']\n"+
		"[[hooks.policies.policy]]\nname = 'x'\nfrom = 'any'\nto = ['dmz']\nsource = 'a'\nsource-excluded = true\nthen = 'reject'\n", []byte{17})
	f.Add("[hooks.policies]\ndefault = 'permit'\nlog-default = false\napplications.x = { protocol = 1, icmp-type = 8 }", []byte{1})
	f.Fuzz(func(t *testing.T, text string, raw []byte) {
		env := testEnv(1)
		cfg, problems := config.ParseTable("fuzz.toml", []byte(text), "hooks", "policies")
		inst := Plugin().Configure(cfg, env)
		if problems.Err() != nil {
			return
		}
		x := fixture{Instance: inst}
		env.Names.Fill(&x.names)
		s := defaults()
		if !cfg.Decode(&s) {
			t.Fatalf("what was accepted does not decode: %v", problems.Err())
		}
		var b [48]byte
		copy(b[:], raw)
		p := hook.Packet{InZone: uint16(b[1] % 4), OutZone: uint16(b[2] % 4)}
		p.Proto, p.HasHead, p.Family = b[0], b[3]&1 == 0, packet.IPv4
		copy(p.Src[:4], b[4:])
		copy(p.Dst[:4], b[8:])
		if b[3]&2 != 0 {
			p.Family = packet.IPv6
			copy(p.Src[:], b[16:])
			copy(p.Dst[:], b[32:])
		}
		if p.HasHead {
			p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b[12:]), binary.BigEndian.Uint16(b[14:])
			p.ICMPType, p.ICMPCode = b[12], b[13]
		}
		m := model{s: &s, apps: env.Apps}
		if got, want := x.decide(p), m.decide(&p); got != want {
			t.Fatalf("%+v\nis %+v, want %+v", p, got, want)
		}
	})
}
