package pipeline

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestStatusOfLists has sources with lists of interfaces and of groups: each element has a row of its own.
func TestStatusOfLists(t *testing.T) {
	var st Status
	dec := json.NewDecoder(strings.NewReader(`{"sources": {"fw": {"buffer": 9, "lost": 2, "groups": [{"group": 5, "denied": 7, "missing": 2},
		{"group": 6, "denied": 0}], "names": ["a"], "none": [{}, 1]}, "live": {"workers": 2, "interfaces": [
		{"interface": "lan0", "condition": "up", "index": 3}, {"interface": "wan0", "condition": "down", "error": ""}]}}}`))
	dec.UseNumber()
	if err := dec.Decode(&st); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := st.WriteText(&b, "127.0.0.1:9464", nil); err != nil {
		t.Fatal(err)
	}
	want := "\nsource fw    buffer=9 lost=2 names=a\n             denied=7 group=5 missing=2\n             denied=0 group=6\n" +
		"source live  workers=2\n             condition=up index=3 interface=lan0\n             condition=down interface=wan0\n"
	if !strings.Contains(b.String(), want) {
		t.Errorf("%s\ndoes not contain\n%s", b.String(), want)
	}
}

// TestStatusOfEvents says what sources of events have told: the sessions of the ledger are others.
func TestStatusOfEvents(t *testing.T) {
	const told = "sources of events have told of "
	for want, feed := range map[string]map[string]uint64{
		told + "began=3 ended=1; the sessions below are those of packets\n": {"began": 3, "ended": 1, "denied": 0}, "": {"began": 0},
	} {
		st := Status{Feed: feed}
		var b strings.Builder
		if err := st.WriteText(&b, "a:1", nil); err != nil || !strings.Contains(b.String(), want) || want == "" && strings.Contains(b.String(), told) {
			t.Errorf("%v: %s (%v), want %q", feed, b.String(), err, want)
		}
		b.Reset()
		if err := writeLedger(&b, &st.Ledger, feed); err != nil || !strings.HasPrefix(b.String(), want) || want == "" && strings.Contains(b.String(), told) {
			t.Errorf("the ledger of %v: %s (%v), want %q", feed, b.String(), err, want)
		}
	}
}

// TestStatusOfStop shows a pipeline that stops as such.
func TestStatusOfStop(t *testing.T) {
	for _, c := range []struct {
		st        Status
		unhealthy error
		want      string
	}{
		{Status{}, nil, "pipelined at a:1: healthy, up"},
		{Status{Stopping: true}, nil, "pipelined at a:1: stopping, up"},
		{Status{Stopping: true}, errBroken, "pipelined at a:1: stopping, " + errBroken.Error() + ", up"},
	} {
		var b strings.Builder
		if err := c.st.WriteText(&b, "a:1", c.unhealthy); err != nil || !strings.HasPrefix(b.String(), c.want) {
			t.Errorf("%s (%v), want %s", b.String(), err, c.want)
		}
	}
}
