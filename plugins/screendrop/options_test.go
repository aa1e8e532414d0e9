package screendrop

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
)

// TestMistakes: every mistake is reported at its key, and what is not offered is not accepted in silence.
func TestMistakes(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{`zones = []`, "test.toml:2:1: hooks.s.zones: name at least one zone"},
		{``, "hooks.s.zones: name at least one zone"},
		{`zones = ["untrust", "untrusted"]`, "hooks.s.zones[1]: there is no zone \"untrusted\"; did you mean \"untrust\"?"},
		{`zone = ["untrust"]`, `hooks.s.zone: unknown key; did you mean "zones"?`},
		{`tcp.syn-fn = true`, `hooks.s.tcp.syn-fn: unknown key; did you mean "syn-fin"?`},
		{`tcp.syn-fin = 1`, "hooks.s.tcp.syn-fin: must be true or false, not 1"},
		{`tcp.syn-flood = { alarm-threshold = 512 }`, `hooks.s.tcp.syn-flood: unknown key "alarm-threshold"; the keys are: attack-threshold`},
		{`tcp.syn-flood = { timeout = 20 }`, `unknown key "timeout"`},
		{`tcp.syn-flood = { attack-threshold = 0 }`, "attack-threshold must be an integer from 1 to 4000000"},
		{`tcp.syn-flood = { source-threshold = "many" }`, "source-threshold must be an integer from 1 to 4000000"},
		{`tcp.syn-flood = 200`, "hooks.s.tcp.syn-flood: must be true, false or a table with the keys attack-threshold"},
		{`tcp.port-scan = { threshold = 5000 }`, `threshold must be a duration such as "5ms"`},
		{`tcp.port-scan = { threshold = "5" }`, "threshold: time: missing unit"},
		{`tcp.port-scan = { threshold = "999us" }`, "threshold must be 1ms to 1s, not 999µs"},
		{`tcp.port-scan = { threshold = "2s" }`, "threshold must be 1ms to 1s, not 2s"},
		{`tcp.port-scan = { thresold = "5ms" }`, `unknown key "thresold"; the keys are: threshold`},
		{`udp.flood = { threshold = 4000001 }`, "threshold must be an integer from 1 to 4000000"},
		{`udp.flood = []`, "must be true, false or a table with the keys threshold"},
		{`ip.spoofing = true`, "hooks.s.ip.spoofing: unknown key"},
		{`ip.spoofing = true`, "hooks.s.ip.spoofing: unknown key"},
		{`limit-session = { source-ip-based = 128 }`, "hooks.s.limit-session: unknown key"},
		{`tcp.syn-ack-ack-proxy = true`, "hooks.s.tcp.syn-ack-ack-proxy: unknown key"},
		{`alarm-without-drop = "yes"`, "hooks.s.alarm-without-drop: must be true or false"},
	} {
		s, problems := config.ParseTable("test.toml", []byte("[hooks.s]\n"+test.body), "hooks", "s")
		Plugin().Configure(s, testEnv())
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s\n got %v\nwant %s", test.body, err, test.want)
		}
	}
}

// TestDefaults reads what `true` and a table without thresholds mean.
func TestDefaults(t *testing.T) {
	for _, test := range []struct {
		body string
		want options
	}{
		{`tcp.syn-flood = true`, optionsWith(func(s *options) { s.TCP.SYNFlood = synFlood{200, 4000, 4000} })},
		{`tcp.syn-flood = {}`, optionsWith(func(s *options) { s.TCP.SYNFlood = synFlood{200, 4000, 4000} })},
		{`tcp.syn-flood = false`, optionsWith(func(*options) {})},
		{`tcp.syn-flood = { attack-threshold = 5, source-threshold = false }`, optionsWith(func(s *options) { s.TCP.SYNFlood = synFlood{5, 0, 4000} })},
		{`tcp.syn-flood = { attack-threshold = true }`, optionsWith(func(s *options) { s.TCP.SYNFlood = synFlood{200, 4000, 4000} })},
		{`udp.flood = true`, optionsWith(func(s *options) { s.UDP.Flood = flood{1000} })},
		{`icmp.flood.threshold = 4000000`, optionsWith(func(s *options) { s.ICMP.Flood = flood{4_000_000} })},
		{`tcp.port-scan = true`, optionsWith(func(s *options) { s.TCP.PortScan = interval{5000} })},
		{`tcp.tcp-sweep.threshold = "1s"`, optionsWith(func(s *options) { s.TCP.TCPSweep = interval{1_000_000} })},
	} {
		s, problems := config.ParseTable("test.toml", []byte("[hooks.s]\nzones = [\"untrust\"]\n"+test.body), "hooks", "s")
		got := decode(s, testEnv().Zones)
		if err := problems.Err(); err != nil {
			t.Errorf("%s: %v", test.body, err)
			continue
		}
		got.Zones = nil
		if got.TCP != test.want.TCP || got.UDP != test.want.UDP || got.ICMP != test.want.ICMP {
			t.Errorf("%s: got %+v, want %+v", test.body, got, test.want)
		}
	}
	if maxThreshold > maxCount {
		t.Errorf("the largest threshold, %d, does not fit in a count (%d)", maxThreshold, maxCount)
	}
}

func optionsWith(change func(*options)) (s options) {
	change(&s)
	return s
}

func TestSampleLoads(t *testing.T) { loadTable(t, Plugin().Sample, "screens") }

// TestSampleNamesEverything: what the sample has in comments and what it sets are together all the keys there are.
func TestSampleNamesEverything(t *testing.T) {
	all := strings.NewReplacer("# alarm", "alarm", "# port", "port", "# udp", "udp", "# block", "block").Replace(Plugin().Sample)
	loadTable(t, all, "screens")
	for _, key := range regexp.MustCompile(`[a-z-]+ = `).FindAllString(allScreens, -1) {
		if !regexp.MustCompile(`(?m)^(\[hooks\.screens\.)?` + strings.TrimSuffix(key, " = ") + `[ \]]`).MatchString(all) {
			t.Errorf("the sample lacks %s", key)
		}
	}
}

// TestReadme loads every configuration of the README.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	snippets := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllSubmatch(text, -1)
	if len(snippets) == 0 {
		t.Fatal("no snippets found")
	}
	for _, snippet := range snippets {
		name := regexp.MustCompile(`\[hooks\.([a-z]+)\]`).FindSubmatch(snippet[1])
		loadTable(t, string(snippet[1]), string(name[1]))
	}
}
