package metrics

import (
	"regexp"
	"strings"
	"testing"
)

// TestLegend holds that every word of the ledger's headings is explained, in lines of at most 100 columns.
func TestLegend(t *testing.T) {
	l := sample()
	var ledger, text strings.Builder
	if err := l.WriteText(&ledger, []string{"session-open", "loss"}); err != nil {
		t.Fatal(err)
	}
	if err := WriteLegend(&text); err != nil {
		t.Fatal(err)
	}
	headings := 0
	for line := range strings.Lines(ledger.String()) {
		words := regexp.MustCompile(` {2,}`).Split(strings.TrimSpace(line), -1)
		switch first := words[0]; {
		case first == "packets", first == "sessions", first == "events", strings.HasPrefix(first, "sink "):
			headings++
			for _, word := range words[1:] {
				if !strings.Contains(text.String(), " "+word+"  ") {
					t.Errorf("%q is not explained", word)
				}
			}
		}
	}
	if headings < 4 {
		t.Errorf("only %d headings in\n%s", headings, ledger.String())
	}
	for line := range strings.Lines(text.String()) {
		if len(line) > 101 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
}
