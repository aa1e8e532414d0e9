package docs

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/pluginkit"
	"github.com/rtflow/pipelined/sdk/event"
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

var code = regexp.MustCompile("`([A-Za-z]+)(\\(\\))?`")

// The table of a record's fields in plugins.md has every method that reads one, and every exported field, and nothing else.
func TestRecordFields(t *testing.T) {
	_, table, found := strings.Cut(onePage(t, "docs/plugins.md").prose, "| `event.Record` | kinds | |\n")
	if !found {
		t.Fatal("there is no table")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	var rows []string
	for row := range strings.Lines(table) {
		for _, m := range code.FindAllStringSubmatch(strings.Split(row, "|")[1], -1) {
			rows = append(rows, m[1])
		}
	}
	var want []string
	record := reflect.TypeFor[*event.Record]()
	for f := range record.Methods() {
		if f.Type.NumIn() == 1 && f.Type.NumOut() > 0 {
			want = append(want, f.Name)
		}
	}
	for field := range record.Elem().Fields() {
		if field.IsExported() {
			want = append(want, field.Name)
		}
	}
	slices.Sort(rows)
	slices.Sort(want)
	if !slices.Equal(rows, want) {
		t.Errorf("the table has %v, a record %v", rows, want)
	}
}
