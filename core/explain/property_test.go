package explain_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/explain"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/packettext"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/plugins/filterlog"
	"github.com/rtflow/pipelined/plugins/policydeny"
	"github.com/rtflow/pipelined/plugins/screendrop"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// configurations is how many random configurations are made, and packets how many random packets for each.
var (
	configurations = flag.Int("configurations", 60, "how many random configurations to try")
	packets        = flag.Int("packets", 50, "how many random packets to try with each of them")
)

// maker makes configurations and packets at random.
type maker struct{ *rand.Rand }

func (m maker) one(words ...string) string { return words[m.IntN(len(words))] }

func (m maker) maybe(percent int, text string) string {
	if m.IntN(100) < percent {
		return text
	}
	return ""
}

// list returns one to three of the words as an array.
func (m maker) list(words ...string) string {
	m.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
	n := 1 + m.IntN(min(3, len(words)))
	return `["` + strings.Join(words[:n], `", "`) + `"]`
}

func (m maker) zones() string {
	if m.IntN(3) == 0 {
		return `"any"`
	}
	return m.list("trust", "untrust", "dmz")
}

func (m maker) prefixes() string {
	return m.list("10.1.0.0/16", "10.2.0.0/17", "198.51.100.0/24", "0.0.0.0/0", "2001:db8::/32", "192.0.2.80/32", "10.1.0.0/27")
}

func (m maker) screens() string {
	b := "[hooks.screens]\nplugin = \"screendrop\"\nzones = " + m.list("trust", "untrust", "dmz") + "\n" + m.maybe(20, "alarm-without-drop = true\n")
	for table, keys := range map[string][]string{
		"tcp": {"syn-fin", "tcp-no-flag", "fin-no-ack", "land", "winnuke", "syn-frag"}, "icmp": {"ping-death", "fragment", "large"},
		"ip": {"block-frag", "bad-option", "source-route-option", "loose-source-route-option", "record-route-option", "timestamp-option",
			"security-option", "unknown-protocol", "tear-drop"},
		"udp": {"port-scan", "udp-sweep"},
	} {
		b += "[hooks.screens." + table + "]\n"
		for _, key := range keys {
			b += m.maybe(40, key+" = true\n")
		}
	}
	return b
}

func (m maker) filter(name, attach string) string {
	b := "[hooks." + name + "]\nplugin = \"filterlog\"\n" + attach
	for i := range 1 + m.IntN(5) {
		b += fmt.Sprintf("[[hooks.%s.term]]\nname = \"t%d\"\nfrom = { %s }\n", name, i, m.one(
			`protocol = "tcp"`, `protocol = "udp", destination-port = [53, 123]`, `source-address = `+m.prefixes(),
			`destination-address = `+m.prefixes(), `tcp-initial = true`, `is-fragment = true`, `packet-length = "100-2000"`,
			`icmp-type = 8`, `dscp = 46`, `ttl = "1-10"`, `port = 80`, ``))
		actions := []string{m.one("accept", "discard", "next term", m.one("reject", "discard"))}
		if strings.Contains(attach, "output-zone") && actions[0] == "reject" {
			actions[0] = "discard"
		}
		if m.IntN(2) == 0 {
			actions = append(actions, "log")
		}
		b += "then = [\"" + strings.Join(actions, `", "`) + "\"]\n"
	}
	if m.IntN(3) > 0 {
		b += "[[hooks." + name + ".term]]\nname = \"rest\"\nthen = \"accept\"\n"
	}
	return b
}

func (m maker) policies() string {
	b := "[hooks.policies]\nplugin = \"policydeny\"\ndefault = \"" + m.one("deny", "permit") + "\"\nlog-default = " + m.one("true", "false") + "\n"
	for i := range m.IntN(12) {
		then := m.one("permit", "permit", "deny", "reject")
		b += fmt.Sprintf("[[hooks.policies.policy]]\nname = \"p%d\"\nfrom = %s\nto = %s\nthen = %q\n", i, m.zones(), m.zones(), then)
		if m.IntN(2) == 0 {
			b += "source = " + m.list("10.1.0.0/16", "10.2.0.0/17", "10.1.0.0/27") + "\n" + m.maybe(20, "source-excluded = true\n")
		}
		b += m.maybe(30, "destination = "+m.list("198.51.100.0/24", "192.0.2.80/32", "10.1.0.0/16", "10.2.0.0/16")+"\n")
		b += m.maybe(50, "application = "+m.list("junos-http", "junos-dns-udp", "junos-ssh", "junos-icmp-all", "junos-icmp6-all")+"\n")
		if then == "permit" {
			b += m.maybe(50, "log = "+m.one(`[]`, `"session-init"`, `"session-close"`)+"\n")
		} else {
			b += m.maybe(30, "log = []\n")
		}
		b += m.maybe(10, "enabled = false\n")
	}
	return b
}

func (m maker) configuration() string {
	return `
[pipeline]
hooks = ["screens", "in", "policies", "out", "seen"]
[admission]
rate = 100000
burst = 100000
[replay]
slots = 2048
telemetry = 1024
per_kind = 512
[sessions]
max = 1024
syn_check = ` + m.one("true", "false") + m.maybe(20, "\nlog = false") + `
[zones.trust]
id = 1
interfaces = ["lan0"]
prefixes = ["10.1.0.0/16", "2001:db8:1::/48"]
[zones.untrust]
id = 2
interfaces = ["wan0"]
prefixes = ["0.0.0.0/0", "::/0"]
[zones.dmz]
id = 3
interfaces = ["wan0.100"]
prefixes = ["192.0.2.0/24", "10.2.0.0/16"]
[hooks.seen]
plugin = "seen"
` + m.screens() + m.filter("in", m.maybe(70, "attach = { input = "+m.list("lan0", "wan0", "wan0.100")+" }\n")) +
		m.filter("out", "attach = { output-zone = "+m.list("trust", "untrust", "dmz")+" }\n") + m.policies()
}

// packet returns the text of a packet, and the address of it that no other of its configuration has.
func (m maker) packet(number int) (text string, own netip.Addr) {
	proto := m.one("tcp", "tcp", "tcp", "udp", "udp", "icmp", "gre", "sctp", "200")
	nets, to := []string{"10.1.0.", "10.2.7.", "198.51.100.", "172.16.9."}, []string{"192.0.2.80", "198.51.100.250", "10.1.5.5", "10.2.250.1"}
	src, dst := fmt.Sprintf("%s%d", m.one(nets...), 1+number), m.one(to...)
	v6 := m.IntN(4) == 0
	if v6 {
		src, dst = fmt.Sprintf("2001:db8:%d::%d", 1+m.IntN(3), 1+number), m.one("2001:db8:1::ffff", "2001:db8:2::ffff")
		proto = strings.Replace(proto, "icmp", "icmp6", 1)
	}
	own = netip.MustParseAddr(src)
	if proto == "tcp" && m.IntN(20) == 0 {
		dst = src // a land attack
	}
	words, later := "", false
	if m.IntN(8) == 0 {
		offset := m.one("0+", "8+", "1480", "65528")
		later = offset != "0+"
		words += " fragment " + offset
	}
	if (proto == "tcp" || proto == "udp" || proto == "sctp") && !later {
		ports := []uint16{22, 53, 80, 123, 139, 1024, 40000}
		port := func(a string) string {
			return netip.AddrPortFrom(netip.MustParseAddr(a), ports[m.IntN(len(ports))]).String()
		}
		src, dst = port(src), port(dst)
	}
	switch {
	case later:
	case proto == "tcp":
		words += m.maybe(60, " flags "+m.one("syn", "ack", "syn,ack", "rst", "none", "fin", "syn,fin", "psh,ack", "urg,ack"))
	case strings.HasPrefix(proto, "icmp"):
		words += m.maybe(50, " type "+m.one("0", "3", "8", "11", "128", "129"))
	}
	words += m.maybe(20, " length "+m.one("200", "1400")) + m.maybe(10, " ttl 5") + m.maybe(10, " dscp 46")
	if !v6 {
		words += m.maybe(10, " option "+m.one("record-route", "timestamp", "security", "stream", "loose-source-route", "bad"))
	}
	words += m.maybe(80, m.one(" in lan0", " in wan0", " in wan0.100", " out wan0"))
	return fmt.Sprintf("%s %s > %s%s", proto, src, dst, words), own
}

// observer is a hook that notes the source addresses of the packets that reach the last call site.
type observer struct{ passed map[netip.Addr]bool }

func (o *observer) Inspect(p *hook.Packet, _ *hook.Finding) hook.Verdict {
	o.passed[p.Src.Netip(p.Family)] = true
	return hook.Pass
}

// frames is a capture of frames.
type frames struct{ list []packet.Frame }

func (s *frames) Queues() []source.FrameSource { return []source.FrameSource{s} }
func (s *frames) Status() any                  { return nil }
func (s *frames) Counters() []source.Counter   { return nil }
func (s *frames) Close() error                 { return nil }
func (s *frames) Release()                     {}
func (s *frames) Receive(_ context.Context, b *packet.Batch, _ time.Duration) error {
	b.N = copy(b.Frames[:], s.list)
	s.list = s.list[b.N:]
	if b.N == 0 {
		return io.EOF
	}
	b.Now = b.Frames[b.N-1].Time
	b.Wall = b.Now
	return nil
}

// sink is a sink that keeps what its records say, by the address that is the packet's own.
type sink struct {
	names *event.Names
	told  map[netip.Addr][]string
}

func (s *sink) Run(ctx context.Context, st sdk.Stream) error {
	return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) {
		for i := range b.Len() {
			r := &b.Records[i]
			what := strings.TrimSpace(fmt.Sprint(r.Kind(), " ", recordRule(s.names, r)))
			for _, a := range []netip.Addr{r.Src(), r.Dst()} {
				if _, own := s.told[a]; own {
					s.told[a] = append(s.told[a], what)
					break
				}
			}
		}
		return b.Len(), nil
	}).Run(ctx, st)
}

func recordRule(n *event.Names, r *event.Record) string {
	switch r.Kind() {
	case event.ScreenDrop:
		return fmt.Sprint(r.Screen(), " action ", r.Action())
	case event.FilterLog:
		filter, term := n.Term(r.Filter(), r.Term())
		return fmt.Sprint(filter, " ", term, " action ", r.Action())
	case event.PolicyDeny:
		return fmt.Sprint(n.Policy(r.Policy()), " action ", r.Action())
	}
	return n.Policy(r.Policy())
}

// actions are the numbers of actions in records.
var actions = map[string]event.Action{"deny": event.ActionDeny, "permit": event.ActionPermit, "reject": event.ActionReject}

func answerRule(r *explain.Record) string {
	rule := strings.TrimSpace(r.Policy + r.Screen + r.Filter + " " + r.Term)
	if r.Action != "" {
		rule += fmt.Sprint(" action ", actions[r.Action])
	}
	return strings.TrimSpace(r.Kind + " " + rule)
}

// TestAnswers compares what is said of each packet with what a pipeline does that carries all of them: whether it passes, where it is
// dropped, which rule decides and which records it makes.
func TestAnswers(t *testing.T) {
	m := maker{rand.New(rand.NewPCG(15, 2026))}
	verdicts := make(map[string]int)
	for range *configurations {
		answersOf(t, m, m.configuration(), verdicts)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d packets: %v", *configurations**packets, verdicts)
	for _, v := range []string{"pass", "drop ingress", "drop session", "drop egress", "reject ingress", "reject session"} {
		if verdicts[v] < 20 {
			t.Errorf("%d packets of %d with the verdict %q: too few to tell anything", verdicts[v], *configurations**packets, v)
		}
	}
}

func answersOf(t *testing.T, m maker, text string, verdicts map[string]int) {
	file, problems := config.Parse("p.toml", []byte(text))
	obs := &observer{passed: make(map[netip.Addr]bool)}
	registry, err := plan.NewRegistry(nil, []hook.Plugin{
		screendrop.Plugin(), filterlog.Plugin(), policydeny.Plugin(),
		{Name: "seen", Configure: func(sdk.Config, hook.Env) hook.Instance { return hook.Instance{Egress: obs} }},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	src, out := &frames{}, &sink{told: make(map[netip.Addr][]string)}
	p := plan.New(file, problems, plan.Options{
		Registry: registry, Hostname: "host",
		Input: &plan.Input{Name: "frames", Configured: source.Configured{
			Open: func(context.Context, *zone.Table) (source.Source, error) { return src, nil },
		}},
		Output: &plan.Output{Name: "out", New: func(sdk.Env) sdk.Sink { return out }},
	})
	if err := problems.Err(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	out.names = p.Names()
	x := p.Explainer()

	answers := make(map[netip.Addr]*explain.Answer)
	deciders := make(map[string]uint64) // packets by policy
	droppedAt := make(map[string]uint64)
	refused := uint64(0)
	for i := range *packets {
		words, own := m.packet(i)
		pkt, err := packettext.Parse(words)
		if err != nil {
			t.Fatalf("%s: %v", words, err)
		}
		a, err := x.Text(pkt)
		if err != nil {
			t.Fatalf("%s: %v", words, err)
		}
		answers[own] = a
		out.told[own] = nil
		f, err := x.FrameOf(pkt)
		if err != nil {
			t.Fatal(err)
		}
		f.Time = int64(i+1) * int64(100*time.Second)
		src.list = append(src.list, f)
		switch a.Verdict {
		case "drop", "reject":
			droppedAt[a.Site]++
		case "refuse":
			refused++
		}
		verdicts[strings.TrimSpace(a.Verdict+" "+a.Site)]++
		for j := range a.Steps {
			s := &a.Steps[j]
			if s.Plugin == "policydeny" && (s.Verdict == "pass" || a.Site == "session" && a.Why == "") {
				deciders[s.Matched[len(s.Matched)-1].Name]++
			}
		}
	}
	clear(obs.passed)
	pl, err := pipeline.Open(t.Context(), p, pipeline.Options{CloseAtEnd: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := pl.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	led := pl.Ledger()
	for site, n := range led.Packets.DroppedAt {
		if droppedAt[site] != n {
			t.Errorf("dropped at %s: %d explained, %d carried", site, droppedAt[site], n)
		}
	}
	if refused != led.Packets.Refused {
		t.Errorf("refused: %d explained, %d carried", refused, led.Packets.Refused)
	}
	for own, a := range answers {
		if passed := a.Verdict == "pass"; passed != obs.passed[own] {
			t.Errorf("%s: verdict %s, but the pipeline let it pass: %v", a.Packet, a.Verdict, obs.passed[own])
		}
		var log []string
		for i := range a.Log {
			log = append(log, answerRule(&a.Log[i]))
		}
		slices.Sort(log)
		told := slices.Sorted(slices.Values(out.told[own]))
		if !slices.Equal(log, told) {
			t.Errorf("%s: explained records %q, the pipeline's %q", a.Packet, log, told)
		}
	}
	counted := make(map[string]uint64)
	for _, c := range pl.Status().Hooks["policies"] {
		if c.Packets > 0 {
			counted[c.Name] = c.Packets
		}
	}
	if !maps.Equal(deciders, counted) {
		t.Errorf("policies that decided: %v explained, %v counted", deciders, counted)
	}
	if t.Failed() {
		t.Log(text)
	}
}
