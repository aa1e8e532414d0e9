package filterlog

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
)

// TestMistakes: every mistake is reported at its place, with what would be right. An unknown action or condition is never
// taken for accept or for any.
func TestMistakes(t *testing.T) {
	term := func(from string) string { return `term = [{ name = "t", from = { ` + from + ` } }]` }
	then := func(then string) string { return `term = [{ name = "t", then = ` + then + ` }]` }
	for _, test := range []struct{ body, want string }{
		{`famliy = "inet"`, `test.toml:2:1: hooks.f.famliy: unknown key; did you mean "family"?`},
		{`family = "inet4"`, `hooks.f.family: unknown family "inet4"; the families are: any, inet, inet6`},
		{`attach = {}`, "hooks.f.attach: the filter is attached nowhere"},
		{`attach.input = ["wan1"]`, `hooks.f.attach.input[0]: there is no interface "wan1"; did you mean "wan0"?`},
		{`attach.output-zone = ["trusst"]`, `there is no zone "trusst"; did you mean "trust"?`},
		{`attach.output = ["trust"]`, "hooks.f.attach.output: unknown key"},
		{"attach.output-zone = \"trust\"\n" + then(`"reject"`), "reject works on input only"},
		{`prefix-lists.a = []`, "hooks.f.prefix-lists.a: the list is empty"},
		{`prefix-lists.a = ["10.0.0.1/8"]`, `hooks.f.prefix-lists.a[0]: "10.0.0.1/8" has host bits set: write 10.0.0.0/8, or 10.0.0.1 for the one address`},
		{`prefix-lists.a = ["10.0.0.0/8 except"]`, `not "8 except"`},
		{`term = [{ from = {} }]`, "hooks.f.term[0].name: the term has no name"},
		{`term = [{ name = "a" }, { name = "a" }]`, `hooks.f.term[1].name: there are two terms of the name "a"`},
		{`term = [{ name = "a", form = {} }]`, `hooks.f.term[0].form: unknown key; did you mean "from"?`},
		{term(`protocoll = "tcp"`), `hooks.f.term[0].from.protocoll: unknown key; did you mean "protocol"?`},
		{term(`protocol = "tpc"`), `hooks.f.term[0].from.protocol: unknown protocol "tpc"`},
		{term(`protocol = ["udp", "icmp7"]`), `hooks.f.term[0].from.protocol[1]: unknown protocol "icmp7"; did you mean "icmp`},
		{term(`protocol = 256`), "256 is no protocol: must be 0 to 255"},
		{term(`protocol = true`), "a protocol is a number or a string"},
		{term(`protocol = []`), "hooks.f.term[0].from.protocol: the list is empty"},
		{term(`source-address = []`), "hooks.f.term[0].from.source-address: the list is empty"},
		{term(`destination-port = "80-70"`), "the range 80-70 ends before it begins"},
		{term(`destination-port = "80-"`), "unknown port"},
		{term(`destination-port = 65536`), "65536 is no port: must be 0 to 65535"},
		{term(`destination-port = "htpp"`), `unknown port "htpp"; did you mean "http"?`},
		{term(`port = 80, destination-port = 80`), "port cannot stand beside source-port or destination-port"},
		{term(`icmp-type = "echo"`), `unknown ICMP type "echo"`},
		{term(`icmp-code = 1`), "an icmp-code needs an icmp-type"},
		{term(`tcp-flags = "syn & akc"`), `hooks.f.term[0].from.tcp-flags: "syn & akc": unknown TCP flag "akc"`},
		{term(`packet-length = 70000`), "70000 is no packet length"},
		{term(`source-address = "10.0.0.0/33"`), "is too long"},
		{term(`source-address = "any"`), `"any" is neither a prefix nor an address`},
		{term(`source-address = "10.0.0.0/8 but"`), `nor one with except behind it`},
		{term(`source-address = { prefix = "10.0.0.0/8", expect = true }`), `unknown key "expect"`},
		{term(`source-address = { except = true }`), "prefix is missing"},
		{term(`source-address = "10.0.0.0/8 except"`), "nothing but exceptions never matches"},
		{"family = \"inet\"\n" + term(`address = "::1"`), "::1/128 is not of family inet"},
		{"family = \"inet6\"\n" + term(`address = ["::1", "10.0.0.1"]`), "hooks.f.term[0].from.address[1]: 10.0.0.1/32 is not of family inet6"},
		{"prefix-lists.bogons = \"10.0.0.0/8\"\n" + term(`source-prefix-list = "bogon"`), `unknown prefix list "bogon"; did you mean "bogons"?`},
		{then(`"permit"`), `hooks.f.term[0].then: unknown action "permit"; the actions are: accept, count NAME, discard`},
		{then(`["log", "acept"]`), `hooks.f.term[0].then[1]: unknown action "acept"; did you mean "accept"?`},
		{then(`["accept", "discard"]`), "hooks.f.term[0].then[1]: a term has at most one of accept"},
		{then(`["accept", "next term"]`), "a term has at most one of accept"},
		{then(`["count a", "count b"]`), "a term has at most one count"},
		{then(`"count"`), "count needs the name of a counter"},
		{then(`{ cuont = "a" }`), "not one with the keys cuont"},
		{then(`7`), "an action is a string"},
		{`term = [` + strings.Repeat(`{ name = "t" },`, 1025) + `]`, "1025 terms; a filter has at most 1024"},
	} {
		s, problems := config.ParseTable("test.toml", []byte("[hooks.f]\n"+test.body), "hooks", "f")
		Plugin().Configure(s, testEnv())
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.200s\n got %.500v\nwant %s", test.body, err, test.want)
		}
	}
}

// TestPrefixListsMayHoldBothFamilies, whatever the filter's family is.
func TestPrefixListsMayHoldBothFamilies(t *testing.T) {
	load(t, "family = \"inet\"\nprefix-lists.l = [\"10.0.0.0/8\", \"::1\"]\nterm = [{ name = \"t\", from = { prefix-list = \"l\" } }]")
}

func TestMostTerms(t *testing.T) {
	var b strings.Builder
	for i := range maxTerms {
		fmt.Fprintf(&b, "[[hooks.f.term]]\nname = \"t%d\"\nfrom = { destination-port = %d }\nthen = [\"log\", \"discard\"]\n", i, i+1)
	}
	inst := load(t, b.String())
	for _, port := range []uint16{1, 64, 65, 1024} {
		if _, f := inspect(inst.Ingress, tcp(t, 0, port)); !f.Found || f.Term != uint32(port)-1 {
			t.Errorf("port %d: %+v", port, f)
		}
	}
}

func TestSampleLoads(t *testing.T) { loadTable(t, Plugin().Sample, "edge-in") }

// TestReadme loads every configuration of the README and looks for every condition in it.
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
		name := regexp.MustCompile(`\[hooks\.([a-z-]+)\]`).FindSubmatch(snippet[1])
		loadTable(t, string(snippet[1]), string(name[1]))
	}
	for f := range reflect.TypeFor[from]().Fields() {
		if key := f.Tag.Get("toml"); !strings.Contains(string(text), "`"+strings.TrimSuffix(key, "-except")+"`") {
			t.Errorf("the README says nothing about %s", key)
		}
	}
}
