package pipeline

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/plan"
)

// TestWatch pins what the log says of a ring that overflows: at the beginning, every minute, at the end, and nothing else;
// and that the pipeline is not healthy meanwhile.
func TestWatch(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "since" {
			return slog.Attr{}
		}
		return a
	}}))
	var refused, dropped, bypassed uint64
	named := func(name string) *openSource { return &openSource{Source: plan.Source{Name: name}} }
	lan, wan := named("lan"), named("wan")
	w := newWatch(log, func() (map[string]uint64, map[unread]uint64) {
		return map[string]uint64{"siem": refused}, map[unread]uint64{{wan, &ofPackets}: dropped, {lan, &ofBypass}: bypassed}
	})
	now := time.Unix(1000, 0)
	pass := func(seconds int, perSecond uint64) {
		for range seconds {
			refused += perSecond
			now = now.Add(time.Second)
			w.look(now)
		}
	}
	expect := func(when string, lines ...string) {
		t.Helper()
		want := ""
		for _, l := range lines {
			want += "level=WARN msg=" + l + "\n"
		}
		if got := out.String(); got != want {
			t.Errorf("%s the log has\n%s, want\n%s", when, got, want)
		}
		out.Reset()
	}
	healthy := func(want bool) {
		t.Helper()
		err := w.health()
		since, lost := w.overflowing("siem")
		if (err == nil) != want || since.IsZero() != want || (lost == 0) != want {
			t.Errorf("healthy %v (%v), overflowing since %v, %d lost; want healthy %v", err == nil, err, since, lost, want)
		}
	}
	pass(5, 0)
	expect("before")
	healthy(true)
	pass(60, 10)
	expect("in the first minute", `"a ring overflows: records are lost, and a loss record will say how many" sink=siem records=10`)
	healthy(false)
	pass(60, 10)
	expect("in the second", `"a ring still overflows" sink=siem records=610`)
	pass(9, 0)
	pass(1, 1)
	pass(9, 0)
	healthy(false)
	expect("in a short pause", `"a ring still overflows" sink=siem records=1200`)
	pass(1, 0)
	expect("at the end", `"a ring overflows no longer" sink=siem records=1201 seconds=129`)
	healthy(true)
	dropped = 7
	pass(1, 0)
	expect("when the kernel drops", `"packets are lost before they are read" source=wan packets=7`)
	if err := w.health(); err == nil || !strings.Contains(err.Error(), "wan") {
		t.Errorf("health: %v", err)
	}
	pass(10, 0)
	expect("when it no longer does", `"no more packets are lost before they are read" source=wan packets=7 seconds=0`)
	bypassed = 9
	pass(1, 0)
	expect("when packets go past", `"packets go past: they are sent on, and nobody judges them" source=lan bypassed=9`)
	said := func(want string) {
		t.Helper()
		err := w.health()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("health: %v, want %q", err, want)
		}
	}
	said("packets go past source lan since " + now.Format(time.RFC3339) + ": 9 unjudged")

	// What has just ended is told in the past tense, until it is over.
	at := now.Add(time.Second).Format(time.RFC3339)
	refused, dropped, bypassed = refused+1, 8, 10
	pass(2, 0)
	said("packets go past source lan since")
	said("the ring of sink siem overflows since " + at)
	said("source wan loses packets since " + at)
	pass(1, 0)
	said("packets went past source lan until " + at + ": 10 unjudged")
	said("the ring of sink siem overflowed until " + at + ": 1 records lost")
	said("source wan lost packets until " + at + ": 1 lost")
	pass(7, 0)
	if err := w.health(); err == nil {
		t.Error("healthy at once")
	}
	pass(1, 0)
	if err := w.health(); err != nil {
		t.Errorf("health: %v", err)
	}

	// One of the same name that is opened in its place counts from 0: what it loses is told, and nothing of the former one.
	out.Reset()
	wan, dropped = named("wan"), 2
	pass(1, 0)
	expect("when another one loses", `"packets are lost before they are read" source=wan packets=2`)
	said("source wan loses packets since " + now.Format(time.RFC3339) + ": 2 lost")
	wan, dropped = named("wan"), 0
	pass(1, 0)
	if err := w.health(); err != nil {
		t.Errorf("health tells of a source that is closed: %v", err)
	}
}
