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
