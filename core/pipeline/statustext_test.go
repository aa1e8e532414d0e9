package pipeline

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestStatusOfInterfaces has a source with a list of interfaces: each has a row of its own.
func TestStatusOfInterfaces(t *testing.T) {
	var st Status
	dec := json.NewDecoder(strings.NewReader(`{"sources": {"live": {"workers": 2, "interfaces": [
		{"interface": "lan0", "condition": "up", "index": 3}, {"interface": "wan0", "condition": "down", "error": ""}]}}}`))
	dec.UseNumber()
	if err := dec.Decode(&st); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := st.WriteText(&b, "127.0.0.1:9464", nil); err != nil {
		t.Fatal(err)
	}
	want := "\nsource live  workers=2\n             condition=up index=3 interface=lan0\n             condition=down interface=wan0\n"
	if !strings.Contains(b.String(), want) {
		t.Errorf("%s\ndoes not contain\n%s", b.String(), want)
	}
}
