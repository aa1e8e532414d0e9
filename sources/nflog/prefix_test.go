package nflog

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestDefaultPatterns reads prefixes as they are in use.
func TestDefaultPatterns(t *testing.T) {
	for _, c := range []struct {
		prefix, rule string
		outcome      outcome
	}{
		// As the pages of this project write them.
		{"DROP:fwd-web ", "fwd-web", denied},
		{"ACCEPT:lan-out", "lan-out", accepted},
		{"REJECT:guests: ", "guests", rejected},
		{"LOG:telnet", "telnet", logged},
		{"drop:a:b", "a:b", denied},
		// nftables: examples of its wiki, of distributions, of OpenWrt
		{"New SSH connection: ", "New SSH connection", logged},
		{"nft drop: ", "nft", denied},
		{"[nftables] Inbound Denied: ", "[nftables] Inbound", denied},
		{"[nftables] Forward Denied: ", "[nftables] Forward", denied},
		{"reject wan in: ", "wan in", rejected},
		{"DROP wan invalid ct state ", "wan invalid ct state", denied},
		{"IPTables-Dropped: ", "IPTables", denied},
		{"iptables denied: ", "iptables", denied},
		{"INPUT:DROP:", "INPUT", denied},
		{"block", "block", denied},
		{"Drop: ", "Drop", denied},
		// ufw
		{"[UFW BLOCK] ", "UFW", denied},
		{"[UFW ALLOW] ", "UFW", accepted},
		{"[UFW AUDIT] ", "UFW", logged},
		{"[UFW LIMIT BLOCK] ", "UFW LIMIT", denied},
		{"[UFW AUDIT INVALID] ", "[UFW AUDIT INVALID]", logged},
		// firewalld
		{"filter_FWD_public_REJECT: ", "filter_FWD_public", rejected},
		{"filter_IN_public_DROP: ", "filter_IN_public", denied},
		{"filter_IN_policy_allow-host-ipv6_REJECT: ", "filter_IN_policy_allow-host-ipv6", rejected},
		{"FINAL_REJECT: ", "FINAL", rejected},
		{"STATE_INVALID_DROP: ", "STATE_INVALID", denied},
		{"rpfilter_DROP: ", "rpfilter", denied},
		// Shorewall, with its older and its present LOGFORMAT
		{"Shorewall:net2fw:DROP:", "net2fw", denied},
		{"Shorewall:net-fw:REJECT:", "net-fw", rejected},
		{"Shorewall:loc2net:ACCEPT:", "loc2net", accepted},
		{"Shorewall:logflags:DROP:", "logflags", denied},
		{"Shorewall6:net2fw:3:DROP:", "net2fw:3", denied},
		{"net-fw DROP ", "net-fw", denied},
		// iptables, as in its pages and in forums; some have what the kernel's log writes behind a prefix
		{"FW-INPUT-DROP IN=", "FW-INPUT", denied},
		{"FW-INPUT-DROP: IN=", "FW-INPUT", denied},
		{"DROP IN=", "DROP", denied},
		{"DROP:wan: IN= ", "wan", denied},
		{"[UFW BLOCK] IN=", "UFW", denied},
		{"IPTables-FORWARD-REJECTED ", "IPTables-FORWARD", rejected},
		{"iptables_INPUT_denied: ", "iptables_INPUT", denied},
		{"IPT_ACCEPT", "IPT", accepted},
		{"drop_it now", "it now", denied},
		{"DROP-INVALID: ", "INVALID", denied},
		{"DROPPED_scan IN=", "scan", denied},
		{"Reject-smtp ", "smtp", rejected},
		{"BLOCK-TOR-ACCEPT ", "BLOCK-TOR", accepted}, // the word at the end, as firewalld and Shorewall write it
		{"accept-lan", "lan", accepted},
		{"pass-through", "pass-through", logged},
		{"log-martians", "log-martians", logged},
		{"dropbox_sync", "dropbox_sync", logged},
		{"PLUGIN=", "PLUGIN=", logged},
		// neither
		{"guest wifi", "guest wifi", logged},
		{"  x  ", "x", logged},
		{":", ":", logged},
		{"audit", "audit", logged},
		{"guest wifi IN=", "guest wifi", logged},
		{"caf\xe9 ", "caf\uFFFD", logged},
	} {
		p := newPrefixes(config(t, `{"groups": [5]}`).Patterns, logged)
		v := p.find([]byte(c.prefix))
		if v.rule.Name != c.rule || v.outcome != c.outcome {
			t.Errorf("%q is rule %q, outcome %d, want %q, %d", c.prefix, v.rule.Name, v.outcome, c.rule, c.outcome)
		}
		if again := p.find([]byte(c.prefix)); again != v {
			t.Errorf("%q is %v, then %v", c.prefix, v, again)
		}
	}
}

// TestOwnPatterns replaces the patterns, and sets what a prefix means that names no action.
func TestOwnPatterns(t *testing.T) {
	c := config(t, `{"groups": [5], "action": "deny", "prefix": ["^<(?P<action>\\w+)>$", "^(?P<rule>r\\d+)=(?P<action>\\w*)", "^only (?P<rule>.*)"]}`)
	p := newPrefixes(c.Patterns, c.Outcome)
	for _, c := range []struct {
		prefix, rule string
		outcome      outcome
	}{
		{"<accept>", "<accept>", accepted},
		{"<log>", "<log>", denied},
		{"<other>", "<other>", denied}, // no word: the pattern does not match
		{"r1=permit", "r1", accepted},
		{"r1=", "r1", denied},
		{"r1=REJECT", "r1", rejected},
		{"only  this ", "this", denied},
		{"DROP:x", "DROP:x", denied},
	} {
		if v := p.find([]byte(c.prefix)); v.rule.Name != c.rule || v.outcome != c.outcome {
			t.Errorf("%q is rule %q, outcome %d, want %q, %d", c.prefix, v.rule.Name, v.outcome, c.rule, c.outcome)
		}
	}
	if p.find([]byte("r1=permit")).rule != p.find([]byte("r1=REJECT")).rule {
		t.Error("a rule of one name is two")
	}
}

// TestUnsaid tells of the first prefix that names no action, where it counts as logged.
func TestUnsaid(t *testing.T) {
	for table, want := range map[string][]string{
		`{"groups": [5]}`:                     {"guest wifi"},
		`{"groups": [5], "action": "accept"}`: nil,
	} {
		var told []string
		c := config(t, table)
		c.Warn = func(msg string, args ...any) {
			if !strings.HasPrefix(msg, "a prefix names no action: ") {
				t.Errorf("warned of %q", msg)
			}
			told = append(told, args[1].(string))
		}
		var r reader
		r.init(nil, &c, 0)
		for _, prefix := range []string{"DROP:x", "LOG:x", "audit", "guest wifi", "guest wifi", "another"} {
			r.prefixes.find([]byte(prefix))
		}
		if !slices.Equal(told, want) {
			t.Errorf("%s: told of %q, want %q", table, told, want)
		}
	}
}

// TestManyPrefixes sees more prefixes than are kept.
func TestManyPrefixes(t *testing.T) {
	p := newPrefixes(config(t, `{"groups": [5]}`).Patterns, logged)
	first := p.find([]byte("DROP:first"))
	for i := range maxPrefixes + 10 {
		p.find(fmt.Appendf(nil, "DROP:%d", i))
	}
	if v := p.find([]byte("DROP:first")); v != first {
		t.Errorf("a prefix that was known is %v", v)
	}
	if v := p.find([]byte("DROP:one more")); v.rule.Name != "other" || v.outcome != logged {
		t.Errorf("a prefix that there is no room for is rule %q, outcome %d", v.rule.Name, v.outcome)
	}
	if n, over := p.count.Load(), p.overflow.Load(); n != maxPrefixes || over != 12 {
		t.Errorf("%d prefixes, %d too many", n, over)
	}
	long := strings.Repeat("x", 3000)
	if v := newPrefixes(nil, logged).find([]byte(long)); v.rule.Name != long[:maxPrefix] {
		t.Errorf("a long prefix is rule %q", v.rule.Name)
	}
}
