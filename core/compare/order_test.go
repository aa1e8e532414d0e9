package compare

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/plan"
)

// orderOf returns what is said of the order when policies stand in another one.
func orderOf(t *testing.T, policies ...string) string {
	t.Helper()
	text := func(order ...int) string {
		var b strings.Builder
		b.WriteString("[zones.a]\nid = 1\nprefixes = [\"10.0.0.0/8\"]\n[zones.b]\nid = 2\nprefixes = [\"0.0.0.0/0\"]\n[pipeline]\nhooks = [\"p\"]\n[hooks.p]\nplugin = \"policydeny\"\n")
		for _, i := range order {
			fmt.Fprintf(&b, "[[hooks.p.policy]]\nname = \"p%d\"\nfrom = \"a\"\nto = \"b\"\n%s\n", i, policies[i])
		}
		return b.String()
	}
	var forward, backward []int
	for i := range policies {
		forward, backward = append(forward, i), append([]int{i}, backward...)
	}
	old, _ := config.Parse("old.toml", []byte(text(forward...)))
	file, problems := config.Parse("new.toml", []byte(text(backward...)))
	p := plan.New(file, problems, options(t, told{}))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	list, more := Orders(p.Explainer(), old.Changes(file))
	var b strings.Builder
	for i := range list {
		fmt.Fprintln(&b, &list[i])
	}
	if more > 0 {
		fmt.Fprintln(&b, more, "more")
	}
	return b.String()
}

func TestOrders(t *testing.T) {
	for _, c := range []struct {
		name     string
		policies []string
		want     string
	}{
		{"both permit", []string{`then = "permit"`, `then = "permit"`}, ""},
		{"no packet matches both", []string{"then = \"permit\"\napplication = \"junos-http\"", "then = \"deny\"\napplication = \"junos-ssh\""}, ""},
		{
			"a packet may match both", []string{"then = \"permit\"\nsource = \"10.1.0.0/16\"", "then = \"deny\"\napplication = \"junos-ssh\""},
			"policy p1 at new.toml:11:11 (deny) stands before policy p0 at new.toml:17:11 (permit) now, and packets may match both\n",
		},
	} {
		if got := orderOf(t, c.policies...); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, c.want)
		}
	}
	var many []string
	for i := range 30 {
		many = append(many, fmt.Sprintf("then = %q", []string{"permit", "deny"}[i%2]))
	}
	if got := orderOf(t, many...); strings.Count(got, "\n") != maxOrders+1 || !strings.Contains(got, "\n125 more\n") {
		t.Errorf("225 pairs: %s", got)
	}
}
