package config

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// changesOf returns the changes between two texts, one a line.
func changesOf(t *testing.T, old, now string) (list []string) {
	t.Helper()
	a, _ := Parse("old.toml", []byte(old))
	b, _ := Parse("new.toml", []byte(now))
	for _, c := range a.Changes(b) {
		text := c.What + " " + c.Path
		if c.From+c.To != "" {
			text += ": " + c.From + " -> " + c.To
		}
		for _, at := range []*Place{c.Old, c.New} {
			if at != nil {
				text += " " + at.String()
			}
		}
		for _, x := range c.Crossed {
			text += " crossed " + x.Name + " " + x.Key
		}
		list = append(list, text)
	}
	return list
}

func TestChanges(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		want           []string
	}{
		{"nothing", "[zones.a]\nid = 1\n", "# the same\n[zones.a]\n  id = 0x1\n", nil},
		{"a value", "[node]\nhostname = \"a\"\n", "[node]\nhostname = \"b\"\n", []string{`changed node.hostname: "a" -> "b" old.toml:2:1 new.toml:2:1`}},
		{"a key less", "[node]\nhostname = \"a\"\n", "[node]\n", []string{`removed node.hostname: "a" ->  old.toml:2:1`}},
		{"a table more", "", "[sinks.x]\nplugin = \"file\"\n", []string{`added sinks.x new.toml:1:8`}},
		{
			"elements of an array", "[zones.a]\ninterfaces = [\"a\", \"d\"]\n", "[zones.a]\ninterfaces = [\"b\", \"c\", \"d\"]\n",
			[]string{`changed zones.a.interfaces: ["a"] -> ["b","c"] old.toml:2:1 new.toml:2:1`},
		},
		{
			"their order", "[zones.a]\ninterfaces = [\"a\", \"d\"]\n", "[zones.a]\ninterfaces = [\"d\", \"a\"]\n",
			[]string{`changed zones.a.interfaces: ["a","d"] -> ["d","a"] old.toml:2:1 new.toml:2:1`},
		},
		{
			"rules by name", "[hooks.p]\npolicy = [{ name = \"a\", then = \"permit\" }, { name = \"b\" }]\n",
			"[hooks.p]\npolicy = [{ name = \"c\" }, { name = \"a\", then = \"deny\" }]\n",
			[]string{
				"removed hooks.p.policy[b] old.toml:2:44",
				"added hooks.p.policy[c] new.toml:2:11",
				`changed hooks.p.policy[a].then: "permit" -> "deny" old.toml:2:25 new.toml:2:41`,
			},
		},
		{
			"rules in another order", "[hooks.p]\npolicy = [{ name = \"a\" }, { name = \"b\" }, { name = \"c\" }]\n", "[hooks.p]\npolicy = [{ name = \"c\" }, { name = \"a\" }, { name = \"b\" }]\n",
			[]string{"moved hooks.p.policy[c] old.toml:2:43 new.toml:2:11 crossed a policy[1] crossed b policy[2]"},
		},
		{
			"names that are there twice are no names", "[hooks.p]\npolicy = [{ name = \"a\" }, { name = \"a\" }]\n", "[hooks.p]\npolicy = [{ name = \"a\" }]\n",
			[]string{"changed hooks.p.policy old.toml:2:1 new.toml:2:1"},
		},
	} {
		if got := changesOf(t, c.old, c.new); !slices.Equal(got, c.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// What is secret is said to have changed, and not shown.
func TestChangesKeepSecrets(t *testing.T) {
	const old = `[service]
metrics_token = "hunter1"
[sinks.n]
auth    = { password = "hunter1", nkey = "n.seed", "api-key" = "hunter1", password_file = "a" }
args    = ["--password=hunter1", "-v"]
command = ["send", "--api-key", "hunter1", "--token", "--plain", "plainly", "3"]
env     = ["NATS_TOKEN=hunter1", "LANG=C"]
servers = ["nats://me:hunter1@a:4222", "nats://b:4222"]
url     = "https://me:hunter1@example.net/"
headers = { Authorization = "hunter1", X-Other = "Bearer hunter1" }
snmp    = { community = "hunter1" }
tokens  = ["hunter1", "hunter3"]
secrets = { a = "hunter1" }
bucket  = { token_rate = 1 }
`
	got := strings.Join(append(changesOf(t, old, strings.ReplaceAll(strings.ReplaceAll(old, "hunter1", "hunter2"), `"a"`, `"b"`)), changesOf(t, old, "[service]\n[sinks.n]\n")...), "\n")
	if strings.Contains(got, "hunter") {
		t.Errorf("a secret is shown:\n%s", got)
	}
	for _, want := range []string{
		"changed service.metrics_token: (secret) -> (secret)", "changed sinks.n.auth.password: (secret) -> (secret)", `sinks.n.auth.password_file: "a" -> "b"`,
		"changed sinks.n.auth.api-key: (secret) -> (secret)", `sinks.n.args: ["--password=(secret)"] -> `, `sinks.n.env: ["NATS_TOKEN=(secret)"] -> `,
		`sinks.n.servers: ["nats://me:(secret)@a:4222"] -> `, `sinks.n.url: "https://me:(secret)@example.net/" -> `, `sinks.n.tokens: (secret) -> (secret)`,
		"removed service.metrics_token: (secret) ->", `sinks.n.command: ["(secret)"] -> ["(secret)"]`,
		`sinks.n.headers.Authorization: (secret) -> (secret)`, `sinks.n.headers.X-Other: "Bearer (secret)" -> "Bearer (secret)"`,
		`["send","--api-key","(secret)","--token","--plain","plainly","3"]`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not among\n%s", want, got)
		}
	}
}

// What is secret in the text of a value.
func TestPublicText(t *testing.T) {
	for text, want := range map[string]string{
		"https://me:pw@h/x?token=tk": "https://me:(secret)@h/x?token=(secret)", "https://me:pw@h/x?a=1": "https://me:(secret)@h/x?a=1",
		"https://h/x?a=1&sig=tk#top": "https://h/x?a=1&sig=(secret)#top", "nats://tk@nats-1:4222": "nats://(secret)@nats-1:4222",
		"https://h/?api_key=tk&b=2": "https://h/?api_key=(secret)&b=2", "https://h/a@b?design=d@e": "https://h/a@b?design=d@e",
		"Basic bWU6cHc=": "Basic (secret)", "basic": "basic", "API_TOKEN=tk": "API_TOKEN=(secret)", "LANG=C": "LANG=C", "/etc/token=/x": "/etc/token=/x",
	} {
		if got := publicText(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// Rules in any other order: those that are not said to have moved stand in the order in which they were, and every pair whose order has changed
// is told exactly once.
func TestChangesOfOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := func(order []int) string {
		var b strings.Builder
		b.WriteString("[hooks.p]\n")
		for _, i := range order {
			fmt.Fprintf(&b, "[[hooks.p.policy]]\nname = \"p%d\"\n", i)
		}
		return b.String()
	}
	for range 300 {
		n := 1 + r.IntN(9)
		order := r.Perm(n)
		was := make([]int, n)
		for i := range was {
			was[i] = i
		}
		a, _ := Parse("a", []byte(text(was)))
		b, _ := Parse("b", []byte(text(order)))
		told := make(map[[2]string]int)
		moved := make(map[string]bool)
		for _, c := range a.Changes(b) {
			name := strings.TrimSuffix(strings.TrimPrefix(c.Path, "hooks.p.policy["), "]")
			moved[name] = true
			for _, x := range c.Crossed {
				told[[2]string{min(name, x.Name), max(name, x.Name)}]++
			}
		}
		last := -1
		for _, i := range order {
			if !moved[fmt.Sprintf("p%d", i)] {
				if i < last {
					t.Fatalf("%v: %v have moved, and %d stands behind %d", order, moved, i, last)
				}
				last = i
			}
		}
		for i := range order {
			for j := range i {
				pair := [2]string{fmt.Sprintf("p%d", min(order[i], order[j])), fmt.Sprintf("p%d", max(order[i], order[j]))}
				want := 0
				if order[j] > order[i] {
					want = 1
				}
				if told[pair] != want {
					t.Fatalf("%v: %v is told %d times, want %d", order, pair, told[pair], want)
				}
			}
		}
	}
}
