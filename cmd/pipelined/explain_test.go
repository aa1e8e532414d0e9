package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/explain"
)

var (
	consoleBlock = regexp.MustCompile("(?s)```console\n\\$ pipelined ((?:explain|test)[^\n]*)\n(.*?)```")
	argument     = regexp.MustCompile(`'[^']*'|\S+`)
)

// TestExplainPages holds what the pages show of explain and test against what the program prints.
func TestExplainPages(t *testing.T) {
	for _, page := range []string{"README.md", "docs/policy-testing.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		found := consoleBlock.FindAllStringSubmatch(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s shows nothing", page)
		}
		for _, f := range found {
			var args []string
			for _, a := range argument.FindAllString(f[1], -1) {
				args = append(args, strings.Trim(a, "'"))
			}
			if diff := cmp.Diff(f[2], mustRun(t, args...)); diff != "" {
				t.Errorf("%s: pipelined %s (-page +program):\n%s", page, f[1], diff)
			}
		}
	}
}

func TestExplainCapture(t *testing.T) {
	var a explain.Answer
	out := mustRun(t, "explain", "--capture", edge, "--packet", "100", "--json")
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(a.Packet, "100 of "+edge+": ") || len(a.Steps) == 0 || a.Verdict == "" {
		t.Errorf("%s", out)
	}
	if _, _, err := invoke(t, "explain", "--capture", edge, "--packet", "1000000"); err == nil || !strings.Contains(err.Error(), "there is no packet 1000000; it has ") {
		t.Errorf("a packet that is not there: %v", err)
	}
}

// TestExplainScreens explains the records of all screens with a configuration that has them all: what looks at one packet fires, and what
// counts is found.
func TestExplainScreens(t *testing.T) {
	config := writeFile(t, "screens.toml", `
[pipeline]
sources = ["in"]
hooks   = ["screens"]
sinks   = ["out"]
[zones.untrust]
interfaces = ["wan0"]
[sources.in]
plugin    = "pcap"
file      = "x.pcap"
interface = "wan0"
[sinks.out]
plugin = "stdout"
[hooks.screens]
plugin = "screendrop"
zones  = ["untrust"]
tcp    = { syn-flood = true, port-scan = true, tcp-sweep = true, syn-fin = true, tcp-no-flag = true, fin-no-ack = true, land = true, winnuke = true, syn-frag = true }
udp    = { flood = true, port-scan = true, udp-sweep = true }
icmp   = { flood = true, ip-sweep = true, ping-death = true, fragment = true, large = true }
ip     = { bad-option = true, source-route-option = true, record-route-option = true, timestamp-option = true, security-option = true, stream-option = true, unknown-protocol = true, tear-drop = true }
`)
	golden, err := os.ReadFile("sdk/format/testdata/golden/rfc3164-junos-22-24.txt")
	if err != nil {
		t.Fatal(err)
	}
	// The example of a record does not fit its screen: its ends differ, its protocol is known, its port is not that of NetBIOS. Loose and
	// strict source routes are one option of the table.
	fitting := strings.NewReplacer("Unknown protocol! source: 203.0.113.7, destination: 10.0.1.53, protocol-id: 6", "Unknown protocol! source: 203.0.113.7, destination: 10.0.1.53, protocol-id: 200",
		"Land attack! source: 203.0.113.7:4000, destination: 10.0.1.53:53", "Land attack! source: 10.0.1.53:53, destination: 10.0.1.53:53",
		"WinNuke attack! source: 203.0.113.7:4000, destination: 10.0.1.53:53", "WinNuke attack! source: 203.0.113.7:4000, destination: 10.0.1.53:139",
		"ge-0/0/0.0", "wan0").Replace(string(golden))
	// Not ours: devices have them.
	elsewhere := []string{"syn-cookie", "limit-session-source", "limit-session-destination", "spoofing", "loose-source-route-option", "strict-source-route-option", "block-frag"}
	outcomes := make(map[string]int)
	for part := range strings.SplitSeq(fitting, "# screen ") {
		name, rest, _ := strings.Cut(part, "\n")
		line, _, _ := strings.Cut(rest, "\n")
		if !strings.Contains(line, "RT_SCREEN_") || name == "unknown" {
			continue
		}
		out, _, err := invoke(t, "explain", "--config", config, line)
		if err != nil {
			out = err.Error()
		}
		want := "were put in as the screen looks for them"
		switch {
		case slices.Contains(elsewhere, name) && name != "syn-cookie": // which has the name of a flood
			want = "which is not configured here"
		case strings.Contains(name, "-flood-"):
			want = "one address alone"
		case strings.HasSuffix(name, "-flood"), strings.HasSuffix(name, "-scan"), strings.HasSuffix(name, "-sweep"), name == "tear-drop", name == "syn-cookie":
			want = "it counts packets, and one alone does not make it fire"
		}
		outcomes[want]++
		if !strings.Contains(out, want) {
			t.Errorf("%s: %s\ngives, without %q,\n%s", name, line, want, out)
		}
	}
	if len(outcomes) != 4 || outcomes["were put in as the screen looks for them"] < 12 {
		t.Errorf("seen are %v", outcomes)
	}
	for line, want := range map[string]string{
		"<12>1 2026-03-01T10:15:24.500Z fw1 pipelined - LOSS - events lost: reason=evicted since=- policy-deny=42": "tells of events that were lost",
		"<14>1 2026-03-01T10:15:24.500Z fw1 sshd 812 - - session opened":                                           "is no record of a session",
	} {
		if _, _, err := invoke(t, "explain", "--config", config, line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// routed is the configuration of a router whose firewall is another's: zones have interfaces alone.
const routed = `
[pipeline]
sources = ["sessions", "rules"]
hooks   = ["screens", "policies"]
sinks   = ["terminal"]
[zones]
lan.interfaces = ["lan0"]
wan.interfaces = ["wan0"]
[sources]
sessions = { plugin = "conntrack" }
rules    = { plugin = "nflog", groups = [5] }
[sinks]
terminal = { plugin = "stdout" }
[hooks.screens]
plugin = "screendrop"
zones  = ["wan"]
tcp    = { syn-fin = true }
[hooks.policies]
plugin = "policydeny"
[[hooks.policies.policy]]
name = "out"
from = "lan"
to   = "wan"
then = "permit"
[[hooks.policies.policy]]
name        = "no-telnet"
from        = "any"
to          = "any"
application = "junos-telnet"
then        = "reject"
`

// TestExplainRecord explains lines of the log between the zones that they name, and says which of them no hook has made.
func TestExplainRecord(t *testing.T) {
	config := writeFile(t, "p.toml", routed)
	const (
		others = `which the configuration does not have: the firewall that sources.rules listens to has decided, and no hook`
		taken  = "from wan to lan: the zones are the record's, and not looked up"
		denied = "looked at policies from wan to lan, application tcp port 22"
		at     = "203.0.113.5:40000 > 10.0.1.30:22"
	)
	for name, c := range map[string]struct {
		line      string
		want, not []string
	}{
		"told by NFLOG": {
			"15:10:30.111 deny   " + at + " ssh rest wan>lan",
			[]string{`rule "rest", ` + others, taken, denied, "zone      from wan\n", "zone      to lan, ", `verdict   of the firewall, by its rule "rest": see the record; of the hooks: `}, []string{"routes of the kernel", "unknown zone"},
		},
		"a policy": {"15:10:30.111 deny   " + at + " ssh default-deny wan>lan", []string{taken, denied}, []string{others}},
		"a global policy": {
			"15:10:30.111 reject 203.0.113.5:40000 > 10.0.1.30:23 telnet no-telnet(global) wan>lan",
			[]string{taken, "policies from wan to lan, application tcp port 23", "verdict   reject"}, []string{others},
		},
		"a session of the host": {
			"15:10:30.111 open   10.0.1.30:40000 > 203.0.113.5:80 http forward lan>wan",
			[]string{`rule "forward", ` + others, `verdict   of the firewall, by its rule "forward": see the record; of the hooks: pass`, "sessions are logged as sources.sessions tells of them"}, nil,
		},
		"an unknown zone": {
			"15:10:30.111 deny   " + at + " ssh rest dmz>lan",
			[]string{`the packet went from zone "dmz", which the configuration does not have`, "policies from an unknown zone to lan"}, nil,
		},
		"no rule": {"15:10:30.111 deny   " + at + " ssh wan>lan", []string{taken, denied}, []string{others}},
		"a filter": {
			"15:10:30.111 filter " + at + " tcp accept watch/ wan0", []string{`rule "watch", ` + others, "zone      from wan, interface wan0"}, nil,
		},
		"JSON": {
			`{"event":{"kind":"event","action":"flow_deny"},"source":{"ip":"203.0.113.5","port":40000},"destination":{"ip":"10.0.1.30","port":22},` +
				`"network":{"iana_number":"6"},"observer":{"ingress":{"zone":"wan","interface":{"name":"wan0"}},"egress":{"zone":"lan"}},"rule":{"name":"rest"}}`,
			[]string{`rule "rest", ` + others, taken, denied, "zone      from wan, interface wan0"}, nil,
		},
		"structured data": {
			`<14>1 2026-03-01T10:15:21.003Z fw1 RT_FLOW - RT_FLOW_SESSION_DENY [junos@2636.1.1.1.2.143 source-address="203.0.113.5" source-port="40000" ` +
				`destination-address="10.0.1.30" destination-port="22" protocol-id="6" icmp-type="0" policy-name="rest" source-zone-name="wan" ` +
				`destination-zone-name="lan" packet-incoming-interface="N/A"]`,
			[]string{`rule "rest", ` + others, taken, denied}, nil,
		},
		"a screen": {
			"15:10:30.111 screen " + at + " tcp SYN and FIN bits! wan>",
			[]string{"from wan: the zones are the record's, and not looked up", "screen syn-fin at ", "verdict   drop"}, nil,
		},
	} {
		out := mustRun(t, "explain", "-c", config, c.line)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: without %q:\n%s", name, want, out)
			}
		}
		for _, not := range c.not {
			if strings.Contains(out, not) {
				t.Errorf("%s: with %q:\n%s", name, not, out)
			}
		}
	}
	var a explain.Answer
	if err := json.Unmarshal([]byte(mustRun(t, "explain", "--json", "-c", config, "15:10:30.111 deny "+at+" ssh rest wan>lan")), &a); err != nil {
		t.Fatal(err)
	}
	if len(a.OfRecord) != 2 || a.DecidedBy != "rest" || a.Zone != "wan" || a.ToZone != "lan" || a.Packet != "tcp "+at+" from wan to lan" {
		t.Errorf("%+v", a)
	}
	if _, _, err := invoke(t, "explain", "-c", config, "tcp "+at+" from wna to lan"); err == nil || !strings.Contains(err.Error(), `there is no zone "wna"; did you mean "wan"?`) {
		t.Errorf("an unknown zone: %v", err)
	}
}

func TestExplainMistakes(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"explain"}, "either a packet or --capture"},
		{[]string{"explain", "--capture", edge, "tcp"}, "either a packet or --capture"},
		{[]string{"explain", "--packet", "3", "tcp 10.0.1.5:4 > 192.0.2.80:4"}, "--packet: goes with --capture"},
		{[]string{"explain", "--interface", "lan0", "tcp 10.0.1.5:4 > 192.0.2.80:4"}, "--interface: goes with --capture"},
		{
			[]string{"explain", "udp\t10.0.1.5:4 >\t192.0.2.80:4 flgs a"},
			"\n  udp 10.0.1.5:4 > 192.0.2.80:4 flgs a\n                                ^",
		},
		{[]string{"explain", "10:15:21.100 deny   10.0.1.5:4 > 192.0.2.80:80 fax no-fax"}, `the record is of an unknown protocol or application, "fax"`},
		{[]string{"explain", "--capture", edge, "--packet", "0"}, "packets are numbered from 1"},
		{
			[]string{"explain", "udp 10.0.1.5:4 > 192.0.2.80:4 flgs a"},
			"at character 31: there is no word \"flgs\"; did you mean \"flags\"?\n  udp 10.0.1.5:4 > 192.0.2.80:4 flgs a\n                                ^",
		},
	} {
		_, _, err := invoke(t, c.args...)
		var use *usageError
		if !errors.As(err, &use) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.args, err)
		}
	}
	if out := mustRun(t, "test", "--config", writeFile(t, "p.toml", testedZones)); !strings.Contains(out, "there are no tests") || !strings.Contains(out, "no test hits") {
		t.Errorf("without a test:\n%s", out)
	}
	_, _, err := invoke(t, "explain", "udp 10.0.1.5:4 > 192.0.2.80:4 in lna0")
	if err == nil || !strings.Contains(err.Error(), `there is no interface "lna0"; did you mean "lan0"?`) {
		t.Errorf("an unknown interface: %v", err)
	}
}

const testedZones = `
[zones.trust]
interfaces = ["lan0"]
prefixes = ["10.0.0.0/8"]
[zones.untrust]
interfaces = ["wan0"]
prefixes = ["0.0.0.0/0"]
[pipeline]
hooks = ["policies"]
[hooks.policies]
plugin = "policydeny"
[[hooks.policies.policy]]
name = "out"
from = "trust"
to = "untrust"
application = "junos-https"
then = "permit"
[[hooks.policies.policy]]
name = "unused"
from = "trust"
to = "trust"
then = "permit"
`

func TestFailingTest(t *testing.T) {
	path := writeFile(t, "p.toml", testedZones+`
[[test]]
name = "web"
packet = "tcp 10.0.0.1:1 > 198.51.100.1:443 in lan0"
expect = { verdict = "pass", policy = "out", log = ["session-open", "session-close"] }
[[test]]
packet = "tcp 10.0.0.1:1 > 198.51.100.1:80 in lan0"
expect = { verdict = "pass", policy = "out", log = [], to_zone = "trust" }
`)
	for _, args := range [][]string{{"test", "-c", path}, {"check", "--tests", "-c", path}} {
		out, _, err := invoke(t, args...)
		if !errors.Is(err, errReported) {
			t.Errorf("%v: %v", args, err)
		}
		for _, want := range []string{
			"FAIL " + path + ":28:3: tcp 10.0.0.1:1 > 198.51.100.1:80 in lan0\n",
			"     verdict: expected pass, got drop\n", "     to_zone: expected trust, got untrust\n",
			"     policy: expected out, got default-deny\n", "     log: expected none, got policy-deny\n",
			"nearest: policy out at " + path + ":12:18 would permit it, but for\n",
			"application: tcp port 80 is not in junos-https (" + path + ":16:1)\n",
			"tests: 1 passed, 1 failed\n",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%v does not print %q:\n%s", args, want, out)
			}
		}
		if unhit := "no test hits policy unused at " + path + ":18:18 of hooks.policies\n"; strings.Contains(out, unhit) != (args[0] == "test") {
			t.Errorf("%v:\n%s", args, out)
		}
	}
}

// TestZonesOfTests: a test can name the zones that nothing else tells, and one that does not is told so.
func TestZonesOfTests(t *testing.T) {
	path := writeFile(t, "p.toml", routed+`
[[test]]
packet = "tcp 203.0.113.5:40000 > 10.0.1.30:22 from wan to lan"
expect = { verdict = "drop", policy = "default-deny", zone = "wan", to_zone = "lan" }
[[test]]
packet = "tcp 10.0.1.30:40000 > 203.0.113.5:80 in lan0 to wan"
expect = { verdict = "pass", policy = "out" }
`)
	if out := mustRun(t, "test", "-c", path); !strings.Contains(out, "tests: 2 passed, 0 failed") {
		t.Errorf("%s", out)
	}
	out, _, err := invoke(t, "test", "-c", writeFile(t, "p.toml", strings.Replace(routed, "[[hooks.policies.policy]]", "default = \"permit\"\n[[hooks.policies.policy]]", 1)+`
[[test]]
packet = "tcp 203.0.113.5:40000 > 10.0.1.30:22"
expect = { verdict = "drop" }
[[test]]
packet = "tcp 10.0.1.30:40000 > 203.0.113.5:80 in lan0"
expect = { verdict = "drop" }
[[test]]
packet = "tcp 10.0.1.30:40000 > 203.0.113.5:80 from lan to wan"
expect = { policy = "no-telnet" }
`))
	if !errors.Is(err, errReported) {
		t.Error(err)
	}
	for want, times := range map[string]int{
		`the packet comes from and that it goes to is not known here, where there are no routes: name it in the packet with "from ZONE" and "to ZONE", or give`: 1,
		`the packet goes to is not known here, where there are no routes: name it in the packet with "to ZONE", or give`:                                        1,
		"what the firewall drops that sources.rules listens to, no test shows":                                                                                  2,
		"     missing: ": 4,
	} {
		if n := strings.Count(out, want); n != times {
			t.Errorf("%q is there %d times, not %d:\n%s", want, n, times, out)
		}
	}
	_, errs, err := invoke(t, "check", "-c", writeFile(t, "p.toml", routed+`
[[test]]
packet = "tcp 203.0.113.5:40000 > 10.0.1.30:22 from wna to lan"
expect = { verdict = "drop" }
`))
	if !errors.Is(err, errReported) || !strings.Contains(errs, `test[0].packet: there is no zone "wna"; did you mean "wan"?`) {
		t.Errorf("%v %s", err, errs)
	}
}

// TestExplainAlone carries hundreds of packets of one source that would fire every screen that counts, if one of them knew another.
func TestExplainAlone(t *testing.T) {
	text := testedZones + `
[hooks.screens]
plugin = "screendrop"
zones  = ["trust"]
tcp  = { port-scan = true, tcp-sweep = true, syn-flood = true }
udp  = { flood = true, port-scan = true, udp-sweep = true }
icmp = { ip-sweep = true, flood = true }
ip   = { tear-drop = true }
`
	text = strings.Replace(text, `hooks = ["`, `hooks = ["screens", "`, 1)
	const packets = 300
	for i := range packets {
		for packet, expect := range map[string]string{
			fmt.Sprintf("tcp 10.0.0.9:40000 > 198.51.100.1:%d in lan0", 2000+i):  `verdict = "drop", policy = "default-deny"`,
			fmt.Sprintf("tcp 10.0.0.9:%d > 198.51.100.%d:443 in lan0", i+1, i%9): `verdict = "pass", policy = "out"`,
			fmt.Sprintf("udp 10.0.0.9:40000 > 198.51.100.1:%d in lan0", 2000+i):  `verdict = "drop", policy = "default-deny"`,
			fmt.Sprintf("icmp 10.0.0.9 > 198.51.100.%d in lan0", i%250):          `verdict = "drop", policy = "default-deny"`,
		} {
			text += fmt.Sprintf("[[test]]\npacket = %q\nexpect = { %s }\n", packet, expect)
		}
	}
	out, _, err := invoke(t, "test", "-c", writeFile(t, "p.toml", text))
	if want := fmt.Sprintf("tests: %d passed, 0 failed", 4*packets); err != nil || !strings.Contains(out, want) {
		t.Errorf("%v: %.2000s", err, out)
	}
}

// TestExplainBridge explains what a bridge does, which is not always what a tap does.
func TestExplainBridge(t *testing.T) {
	if out, problems, err := invoke(t, "test", "-c", "bridge.toml"); err != nil {
		t.Fatalf("%v\n%s%s", err, out, problems)
	}
	for _, c := range []struct{ packet, verdict, why string }{
		{"icmp6 fe80::1 > ff02::1:ff00:2 type 135 ttl 255 in wan0", "pass", ""},
		{"icmp6 fe80::1 > ff02::1:ff00:2 type 135 ttl 64 in wan0", "drop", ""},
		{"udp 10.0.0.5 > 198.51.100.1 fragment 1480 in lan0", "drop", "a later fragment belongs to the session of the first one"},
		{"tcp 10.0.0.5:1 > 198.51.100.1:443 flags ack in lan0", "drop", "it answers a packet that was not seen"},
		{"tcp 10.0.0.5:1 > 198.51.100.1:443 flags rst in lan0", "drop", "it belongs to no session"},
	} {
		out, _, err := invoke(t, "explain", "--json", "-c", "bridge.toml", c.packet)
		if err != nil {
			t.Errorf("%s: %v", c.packet, err)
			continue
		}
		var a struct {
			Verdict, Why string
			Notes        []string
		}
		if err := json.Unmarshal([]byte(out), &a); err != nil {
			t.Fatal(err)
		}
		if a.Verdict != c.verdict || !strings.Contains(a.Why, c.why) || slices.ContainsFunc(a.Notes, func(n string) bool { return strings.Contains(n, "routes") }) {
			t.Errorf("%s: %s", c.packet, out)
		}
	}
}

func TestMistakesInTests(t *testing.T) {
	path := writeFile(t, "p.toml", testedZones+`
[[test]]
packet = "tcp 10.0.0.1:1 > 198.51.100.1:443 in lan1"
expect = { policy = "uot", zone = "trsut", term = "x", filter = "y" }
`)
	_, errs, err := invoke(t, "check", "-c", path)
	if !errors.Is(err, errReported) {
		t.Error(err)
	}
	for _, want := range []string{
		`:25:1: test[0].packet: there is no interface "lan1"; did you mean "lan0"?`,
		`:26:12: test[0].expect.policy: there is no policy "uot"; did you mean "out"?`,
		`:26:28: test[0].expect.zone: there is no zone "trsut"; did you mean "trust"?`,
		`:26:56: test[0].expect.filter: there is no filter "y"`,
	} {
		if !strings.Contains(errs, want) {
			t.Errorf("check does not print %q:\n%s", want, errs)
		}
	}
}

// TestReadWithTests: tests of interfaces that only the sources of the configuration name are no mistake for read, which leaves those
// sources alone.
func TestReadWithTests(t *testing.T) {
	path := writeFile(t, "p.toml", `
[zones.all]
prefixes = ["0.0.0.0/0", "::/0"]
[pipeline]
sources = ["live"]
sinks = ["out"]
[sources.live]
plugin = "afpacket"
interfaces = ["tap0"]
[sinks.out]
plugin = "stdout"
[[test]]
packet = "tcp 10.0.0.1:1 > 198.51.100.1:443 in tap0"
expect = { verdict = "pass", zone = "all" }
`)
	mustRun(t, "test", "-c", path)
	mustRun(t, "read", "-c", path, edge)
	mustRun(t, "explain", "-c", path, "--capture", edge)
}
