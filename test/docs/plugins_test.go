package docs

import (
	"regexp"
	"testing"

	"github.com/rtflow/pipelined/core/pluginkit"
)

var rule = regexp.MustCompile(`(?m)^\| (MUST|SHOULD) \| ([^|]+) \|`)

// Every rule of the contract has a row in plugins.md, in the order in which they are tried, and every row is a rule.
func TestContract(t *testing.T) {
	var rows []pluginkit.Rule
	for _, m := range rule.FindAllStringSubmatch(onePage(t, "docs/plugins.md").prose, -1) {
		rows = append(rows, pluginkit.Rule{Level: pluginkit.Level(m[1]), Name: m[2]})
	}
	want := pluginkit.Contract()
	for i := range max(len(rows), len(want)) {
		switch {
		case i >= len(rows):
			t.Fatalf("no row for %s %s", want[i].Level, want[i].Name)
		case i >= len(want) || rows[i] != want[i]:
			t.Fatalf("the row %s %s is not the rule in its place", rows[i].Level, rows[i].Name)
		}
	}
}
