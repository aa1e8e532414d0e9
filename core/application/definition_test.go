package application

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/packet"
)

func decode(t *testing.T, text string) map[string]Definition {
	t.Helper()
	var defs map[string]Definition
	md, err := toml.Decode(text, &defs)
	if err != nil {
		t.Fatal(err)
	}
	if u := md.Undecoded(); len(u) > 0 {
		t.Fatalf("keys without a field: %v", u)
	}
	return defs
}

func TestWith(t *testing.T) {
	table, problems := Predefined().With(decode(t, `
		[proxy]
		protocol = "tcp"
		destination-port = "8080-8081"
		inactivity-timeout = "10m"
		[knock]
		protocol = 17
		source-port = [1, "5-6"]
		destination-port = [7, "8"]
		[late]
		protocol = "132"
		inactivity-timeout = "never"
		[timestamp]
		protocol = "icmp"
		icmp-type = 13
		icmp-code = 0
		[both]
		term = [ { protocol = "tcp", destination-port = 853 }, { protocol = "udp", destination-port = 853, inactivity-timeout = 5 } ]
		[web]
		members = ["junos-http", "proxy", "deep", "proxy"]
		[deep]
		members = ["junos-http", "both"]
	`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	proxy := withTimeout(600, tcpRange(8080, 8081))
	both := join(tcp(853), withTimeout(5, udp(853)))
	knock := func(srcLo, srcHi, dst uint16) Term {
		return Term{packet.ProtoUDP, Range{srcLo, srcHi}, Range{dst, dst}, AnyICMP, AnyICMP, 0}
	}
	for name, want := range map[string][]Term{
		"proxy":     proxy,
		"knock":     {knock(1, 1, 7), knock(1, 1, 8), knock(5, 6, 7), knock(5, 6, 8)},
		"late":      withTimeout(Never, protocol(packet.ProtoSCTP)),
		"timestamp": icmp(packet.ProtoICMP, 13, 0),
		"both":      both,
		"deep":      join(withTimeout(300, tcp(80)), both),
		"web":       join(withTimeout(300, tcp(80)), proxy, both),
		"junos-ssh": tcp(22),
	} {
		got, ok := table.Resolve(name)
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if !slices.Contains(table.Known(), name) {
			t.Errorf("%s is not among the known names", name)
		}
	}
	if id := table.Service(packet.ProtoTCP, 8080); id != None {
		t.Errorf("a user's application became service name %q", table.Names()[id])
	}
}

func TestWithLeavesTable(t *testing.T) {
	base := Predefined()
	if _, problems := base.With(map[string]Definition{"x": {Members: []string{"junos-ssh"}}}); problems != nil {
		t.Fatal(problems)
	}
	if _, ok := base.Resolve("x"); ok {
		t.Error("With changed the table")
	}
	if again, _ := base.With(nil); again != base {
		t.Error("With of nothing made a new table")
	}
}

func TestWithProblems(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no protocol", `[x]
			destination-port = 80`, "x protocol: an application needs a protocol"},
		{"nothing", `[x]`, "x protocol: an application needs a protocol"},
		{"unknown protocol", `[x]
			protocol = "tcpp"`, `x protocol: "tcpp" is no protocol; want a name or a number within 0 to 255 [unknown "tcpp"]`},
		{"protocol number", `[x]
			protocol = 256`, `x protocol: "256" is no protocol; want a name or a number within 0 to 255 [unknown "256"]`},
		{"ports without ports", `[x]
			protocol = "gre"
			source-port = 1
			destination-port = 2`, "x source-port: gre has no ports\nx destination-port: gre has no ports"},
		{"icmp of tcp", `[x]
			protocol = 200
			icmp-type = 1
			icmp-code = 1`, "x icmp-type: protocol 200 has no ICMP type\nx icmp-code: protocol 200 has no ICMP code"},
		{"code without type", `[x]
			protocol = "icmp6"
			icmp-code = 1`, "x icmp-code: an ICMP code means nothing without icmp-type"},
		{"in a term", `[x]
			term = [{ protocol = "udp" }, { protocol = "icmp", icmp-code = 1 }]`,
			"x term[1].icmp-code: an ICMP code means nothing without icmp-type"},
		{"no terms", `x = { term = [] }`, "x term: an application without terms matches nothing"},
		{"no members", `x = { members = [] }`, "x members: an empty set matches nothing"},
		{"two kinds", `[x]
			protocol = "tcp"
			members = ["junos-ssh"]`,
			"x : an application is a protocol, a list of terms or a set of members, only one of them"},
		{"unknown member", `x = { members = ["junos-ssh", "junos-htp"] }`,
			`x members[1]: no application or set is called "junos-htp" [unknown "junos-htp"]`},
		{"cycle", `
			a = { members = ["b"] }
			b = { members = ["c"] }
			c = { members = ["b"] }`, "c members[0]: the set contains itself: b > c > b"},
		{"own member", `x = { members = ["x"] }`, "x members[0]: the set contains itself: x > x"},
		{"reserved", `junos-http = { protocol = "tcp" }`,
			`junos-http : names that begin with "junos-" belong to the predefined applications`},
		{"any", `any = { protocol = "tcp" }`, `any : "any" means every application and cannot name one`},
		{"no name", `"" = { protocol = "tcp" }`, ` : an application needs a name`},
		{"a mistake shows once", `
			z = { members = ["a"] }
			a = { protocol = "tcpp" }`, `a protocol: "tcpp" is no protocol; want a name or a number within 0 to 255 [unknown "tcpp"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := Predefined().With(decode(t, c.text))
			var lines []string
			for _, p := range problems {
				line := fmt.Sprintf("%s %s: %s", p.Name, p.Key, p.Text)
				if p.Unknown != "" {
					line += fmt.Sprintf(" [unknown %q]", p.Unknown)
					if len(p.Valid) == 0 || !slices.IsSorted(p.Valid) {
						t.Errorf("valid words %v", p.Valid)
					}
				}
				lines = append(lines, line)
			}
			if diff := cmp.Diff(c.want, strings.Join(lines, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSharedMembersStaySmall(t *testing.T) {
	defs := map[string]Definition{"s0": {Members: []string{"junos-ssh", "junos-http"}}}
	for i := 1; i < 60; i++ {
		below := fmt.Sprintf("s%d", i-1)
		defs[fmt.Sprintf("s%d", i)] = Definition{Members: []string{below, below}}
	}
	table, problems := Predefined().With(defs)
	if problems != nil {
		t.Fatal(problems)
	}
	if terms, _ := table.Resolve("s59"); len(terms) != 2 {
		t.Errorf("%d terms, want 2", len(terms))
	}
}

func TestBadValues(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`protocol = true`, "true is not a protocol"},
		{`protocol = ""`, `"" is not a protocol`},
		{`destination-port = 65536`, "port 65536 is not within 0 to 65535"},
		{`destination-port = -1`, "port -1 is not within 0 to 65535"},
		{`destination-port = "http"`, `"http" is not a port`},
		{`destination-port = "9-5"`, `"9-5" ends before it begins`},
		{`destination-port = "5-"`, `"" is not a port`},
		{`destination-port = "1-2-3"`, `"2-3" is not a port`},
		{`destination-port = 1.5`, "1.5 is not a port"},
		{`destination-port = []`, "an empty list of ports matches nothing"},
		{`destination-port = [80, "x"]`, `"x" is not a port`},
		{`source-port = [` + strings.Repeat("1,", 65) + `]`, "65 ranges of ports, at most 64"},
		{`inactivity-timeout = 0`, "a timeout of 0 seconds is not within 1 to"},
		{`inactivity-timeout = -5`, "a timeout of -5 seconds"},
		{`inactivity-timeout = 4294967295`, "a timeout of 4294967295 seconds"},
		{`inactivity-timeout = "1500ms"`, `"1500ms" is not a timeout`},
		{`inactivity-timeout = "soon"`, `"soon" is not a timeout`},
		{`inactivity-timeout = true`, "true is not a timeout"},
		{`icmp-type = 256`, "out of range"},
		{`icmp-code = -1`, "out of range"},
	} {
		var d Definition
		_, err := toml.Decode(c.text, &d)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.text, err, c.want)
		}
	}
}

// FuzzDefinition: whatever decodes is refused or resolves to terms that are well formed.
func FuzzDefinition(f *testing.F) {
	f.Add(`x = { protocol = "tcp", destination-port = [80, "8000-8080"], inactivity-timeout = "5m" }`)
	f.Add(`x = { term = [{ protocol = 1, icmp-type = 8, icmp-code = 0 }, { protocol = "sctp", source-port = 1 }] }`)
	f.Add("x = { members = ['y', 'junos-http'] }\ny = { members = ['x'] }")
	f.Fuzz(func(t *testing.T, text string) {
		var defs map[string]Definition
		if _, err := toml.Decode(text, &defs); err != nil {
			return
		}
		table, problems := Predefined().With(defs)
		if len(problems) > 0 {
			return
		}
		for name := range defs {
			terms, ok := table.Resolve(name)
			if !ok || len(terms) == 0 {
				t.Fatalf("%q was accepted and matches nothing", name)
			}
			for _, term := range terms {
				if term.Src.Lo > term.Src.Hi || term.Dst.Lo > term.Dst.Hi {
					t.Fatalf("%q has a range that ends before it begins: %+v", name, term)
				}
				if !hasPorts(term.Proto) && !(term.Src.Any() && term.Dst.Any()) {
					t.Fatalf("%q wants ports of a protocol without ports: %+v", name, term)
				}
			}
		}
	})
}
