package top

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/control"
	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/core/summary"
	"github.com/rtflow/pipelined/sdk/event"
)

var began = time.Date(2026, 11, 30, 9, 12, 44, 0, time.UTC)

// sample is the frame of a daemon after so many seconds.
func sample(t testing.TB, seconds int) *control.Frame {
	t.Helper()
	n := uint64(seconds)
	wave := uint64(0)
	for i := range seconds {
		wave += 5000 + 4000*uint64(i%7)
	}
	st := pipeline.Status{
		Epoch: 7, Uptime: 7980 + float64(seconds), Configuration: pipeline.Configuration{Number: 2},
		Sinks: map[string]pipeline.SinkStatus{
			"siem": {
				Status: deliver.Status{Phase: deliver.Running, Runs: 1, Since: began}, Sent: event.Seq(1200 * n), Acked: event.Seq(1180 * n), InFlight: 20, Up: true,
			},
			"audit": {
				Status: deliver.Status{
					Phase: deliver.Backoff, Runs: 12, Since: began, LastError: "dial: \x1b[2Jconnection refused", ErrorAt: began, Rejects: 2, LastReject: "too long",
				},
				Sent: 900, Acked: 800, InFlight: 8192, LagRecords: 837, LagSeconds: 12.34, OverflowSince: began, Overflow: 17,
			},
			"lake": {
				Status: deliver.Status{Phase: deliver.Backoff, Runs: 3, Since: began, LastError: "no route to host", ErrorAt: began},
				Sent:   70, Acked: 60, InFlight: 4, LagRecords: 12 * n, LagSeconds: 3600,
				Spool: &pipeline.SpoolStatus{
					Held: 12 * n, Bytes: 2000 * int64(n), Size: 1 << 30, Segments: 2, Full: "no space left on device", Errors: 2, LastError: "write: no\x1bspace", Aside: 1, TornRecords: 3,
				},
			},
		},
		Ledger: metrics.Ledger{
			Packets:  metrics.Packets{Received: wave, Passed: wave - 900*n, Dropped: 900 * n, Lost: 3 * n, Offloaded: 400 * n, Bypassed: 5 * n, ByZone: map[string]uint64{"untrust": 2000 * n, "unknown": 7 * n}},
			Sessions: metrics.Sessions{Active: 12345, Created: 120 * n, Closed: 118 * n},
			Events: map[string]metrics.Events{
				"session-open": {Offered: 120 * n, Admitted: 120 * n}, "session-close": {Offered: 118 * n, Admitted: 118 * n},
				"policy-deny": {Offered: 950 * n, RateLimited: 50 * n, Admitted: 900 * n}, "screen-drop": {}, "filter-log": {Offered: 10 * n, Admitted: 10 * n},
			},
			Sinks: map[string]map[string]metrics.Queue{
				"siem": {"policy-deny": {Queued: 1200 * n, Acknowledged: 1180 * n, InFlight: 20 * n}}, "audit": {"policy-deny": {OverBudget: 17}},
				"lake": {
					"session-open": {Queued: 13 * n, InFlight: 4, Spool: &metrics.Spool{Spooled: 13*n - 4, Unspooled: n - 4, Evicted: n - 4, Held: 12 * n}},
					"loss":         {Spool: &metrics.Spool{Found: 1, Damaged: 1, Unspooled: 1}},
				},
			},
			Unaccounted: 3,
		},
	}
	text, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	f := &control.Frame{At: began.Add(time.Duration(seconds) * time.Second), Status: text, Summary: summary.Report{
		Seconds: float64(seconds), Seen: 1148 * n, Denials: 900 * n, LeftOut: 34,
		Zones: []summary.Row{{Name: "untrust", Count: 900 * n, Example: "<1>line of untrust"}, {Name: "trust", Count: 248 * n}},
		Rules: []summary.Row{
			{Name: "no-telnet(global)", What: "policy-deny", Count: 700 * n, Example: "<1>line of no-telnet"},
			{Name: "rest", What: "policy-deny", Count: 200 * n}, {Name: "web", What: "session-open", Count: 120 * n},
			{Name: "web", What: "session-close", Count: 118 * n}, {Name: "edge rest of the day", What: "filter-log", Count: 10 * n},
		},
		Destinations: []summary.Row{{Name: "192.0.2.80", Count: 850 * n}, {Name: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Count: 50 * n}},
		Ports:        []summary.Row{{Name: "23/tcp", Count: 700 * n}, {Name: "icmp", Count: 200 * n}},
	}}
	for i := range uint64(30) {
		f.Summary.Sources = append(f.Summary.Sources, summary.Row{
			Name: fmt.Sprintf("198.51.100.%d", i+1), Count: n * (100 - 2*i), Error: i, Example: fmt.Sprintf("<1>line of %d", i+1),
		})
	}
	return f
}

// screen is a model that has seen a minute.
func screen(t testing.TB, width, height int) *Model {
	t.Helper()
	m := New("/run/pipelined/control", false)
	m.Resize(width, height)
	for i := range 60 {
		if err := m.Frame(sample(t, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// golden compares with a file; PIPELINED_UPDATE_GOLDEN=1 rewrites it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if os.Getenv("PIPELINED_UPDATE_GOLDEN") == "1" {
		if err := os.WriteFile(path, []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got+"\n"); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

func press(m *Model, keys ...string) {
	for _, k := range keys {
		m.Key(k)
	}
}

// TestScreens pins the screen at several sizes and in several states.
func TestScreens(t *testing.T) {
	for name, c := range map[string]struct {
		width, height int
		keys          []string
	}{
		"80x24":         {80, 24, nil},
		"80x24-sources": {80, 24, []string{"tab", "down", "down"}},
		"120x40":        {120, 40, nil},
		"200x60":        {200, 60, []string{"shift+tab"}},
		"40x12":         {40, 12, nil},
		"120x40-find":   {120, 40, []string{"/", "1", "9", "2"}},
		"80x24-by-name": {80, 24, []string{"tab", "s", "end", "p"}},
		"80x24-sinks":   {80, 24, []string{"left", "left", "down"}},
		"80x24-sink":    {80, 24, []string{"left", "left", "down", "enter"}},
		"80x24-spool":   {80, 24, []string{"left", "left", "down", "down", "enter"}},
		"80x30-help":    {80, 30, []string{"?"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := screen(t, c.width, c.height)
			press(m, c.keys...)
			golden(t, name, m.View())
		})
	}
	golden(t, "all", screen(t, 100, 0).All())
}

// TestNoFrames says why there is nothing to see, first and later.
func TestNoFrames(t *testing.T) {
	m := New("/run/x", false)
	if !strings.Contains(m.View(), "waiting for the first numbers") {
		t.Errorf("at first:\n%s", m.View())
	}
	m.Trouble("nobody listens there")
	if !strings.Contains(m.View(), "nobody listens there") {
		t.Errorf("without a daemon:\n%s", m.View())
	}
	m = screen(t, 100, 30)
	m.Trouble("the daemon has ended")
	if view := m.View(); !strings.Contains(view, "the daemon has ended") || !strings.Contains(view, "siem") {
		t.Errorf("later:\n%s", view)
	}
	if err := m.Frame(sample(t, 70)); err != nil || strings.Contains(m.View(), "has ended") {
		t.Errorf("with the next daemon: %v\n%s", err, m.View())
	}
	if err := m.Frame(&control.Frame{Status: []byte("[]")}); err == nil {
		t.Error("a frame that is none is taken")
	}
}

// TestKeys selects a line that stays selected as the numbers change, and has its event explained.
func TestKeys(t *testing.T) {
	m := screen(t, 100, 40)
	press(m, "tab", "down", "down", "enter")
	if got := m.Wanted(); got != "<1>line of 3" {
		t.Errorf("explained is %q", got)
	}
	if got := m.Wanted(); got != "" {
		t.Errorf("and again %q", got)
	}
	f := sample(t, 61)
	f.Summary.Sources[2].Count, f.Summary.Sources[2].Example = 1e9, "<1>newer"
	if err := m.Frame(f); err != nil {
		t.Fatal(err)
	}
	press(m, "enter")
	if got := m.Wanted(); got != "<1>newer" {
		t.Errorf("the line that has moved up is explained by %q", got)
	}
	m.Show("reading")
	m.Show("it is\tdenied\x1b[2J\nby rest\n")
	if view := m.View(); !strings.Contains(view, `it is    denied\u001b[2J`) || strings.Contains(view, "198.51.100.1 ") || strings.Contains(view, "reading") {
		t.Errorf("explained:\n%s", view)
	}
	press(m, "esc")
	if !strings.Contains(m.View(), "198.51.100.1 ") {
		t.Error("Esc does not lead back")
	}
	press(m, "p")
	if err := m.Frame(sample(t, 99)); err != nil || !strings.Contains(m.View(), "PAUSED") || strings.Contains(m.View(), "09:14:23") {
		t.Errorf("paused: %v\n%s", err, m.View())
	}
	press(m, "p", "/", "q", "backspace", "é", "esc")
	if m.Key("q") != true || m.Key("ctrl+c") != true {
		t.Error("the screen does not end")
	}
	press(m, "/")
	if m.Key("q") || !m.Key("ctrl+c") {
		t.Error("while a text is typed, q is part of it and Ctrl-C is not")
	}
}

// TestColour draws the same text with colours as without.
func TestColour(t *testing.T) {
	plain, coloured := screen(t, 120, 40), screen(t, 120, 40)
	coloured.colour = true
	if view := coloured.View(); ansi.Strip(view) != plain.View() || view == plain.View() {
		t.Errorf("with colours:\n%s\nwithout:\n%s", ansi.Strip(view), plain.View())
	}
}

// FuzzScreen draws hostile names, sizes and keys: the screen has the size of the terminal, and nothing that is not graphic.
func FuzzScreen(f *testing.F) {
	f.Add("eth0\x1b[2J\x1b]0;title\x07", 80, 24, "\t\tsj")
	f.Add("a\u202eb\u2066c\u2028d世界\u0301", 3, 2, "/x")
	f.Add(strings.Repeat("long ", 100), 300, 100, "?j")
	f.Add("\xff\xfe", 0, 0, "e")
	f.Fuzz(func(t *testing.T, text string, width, height int, keys string) {
		if width < 0 || width > 500 || height < 0 || height > 200 || len(keys) > 50 {
			return // no terminal is like that
		}
		m := New(text, false)
		m.Resize(width, height)
		frame := sample(t, 1)
		for _, rows := range [][]summary.Row{frame.Summary.Zones, frame.Summary.Rules, frame.Summary.Sources, frame.Summary.Ports} {
			for i := range rows {
				rows[i].Name, rows[i].What = text, text
			}
		}
		frame.Unhealthy = text
		ledger := metrics.Ledger{
			Packets: metrics.Packets{ByZone: map[string]uint64{text: 5}}, Sinks: map[string]map[string]metrics.Queue{text: {text: {Queued: 1, Rejected: 1}}},
		}
		status, err := json.Marshal(pipeline.Status{Ledger: ledger, Sinks: map[string]pipeline.SinkStatus{text: {Status: deliver.Status{Phase: deliver.Phase(text), LastError: text}, Spool: &pipeline.SpoolStatus{Held: 1, Full: text, LastError: text, Errors: 1}}}})
		if err != nil {
			t.Fatal(err)
		}
		frame.Status = status
		check := func() {
			view := m.View()
			lines := strings.Split(view, "\n")
			if len(lines) > max(height, 1) {
				t.Errorf("%d lines in %d", len(lines), height)
			}
			for _, line := range lines {
				if ansi.StringWidth(line) > width {
					t.Errorf("%d cells in %d: %q", ansi.StringWidth(line), width, line)
				}
				for _, r := range line {
					if !unicode.IsGraphic(r) {
						t.Errorf("%q holds %q", line, r)
					}
				}
			}
		}
		check()
		if err := m.Frame(frame); err != nil {
			t.Fatal(err)
		}
		names := map[rune]string{'\t': "tab", 'e': "enter", 'j': "down", 'k': "up", 'u': "pgup", 'd': "pgdown", 'x': "esc"}
		for _, k := range keys {
			name := names[k]
			if name == "" {
				name = string(k)
			}
			m.Key(name)
			check()
		}
		m.Show(text)
		check()
		m.Trouble(text)
		check()
		_ = m.All()
	})
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", -3: "0", 0.42: "0.4", 3: "3", 9.96: "10", 42.4: "42", 9999: "9999", 9999.6: "10.0k", 12345: "12.3k", 99949: "99.9k", 99951: "100k", 999499: "999k",
		999501: "1.0M", 1.5e10: "15.0G", 5e14: "500T",
	} {
		if got := number(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
	for range 1000 {
		if v := rand.Float64() * 1e15; len(number(v)) > 5 {
			t.Errorf("%v is written %s", v, number(v))
		}
	}
	if got := spark([]float64{9, 0, 1, 2, 4}, 4); got != "▁▂▄█" {
		t.Errorf("sparkline %s", got)
	}
	if got := spark([]float64{0, 0}, 4); got != "▁▁" {
		t.Errorf("of nothing %s", got)
	}
	if got := percent(1, 0); got != "" {
		t.Errorf("a share of nothing is %s", got)
	}
}

// A restart with kept state has the same epoch, and no rates over it.
func TestRestart(t *testing.T) {
	for name, change := range map[string]func(*pipeline.Status){
		"another epoch":           func(st *pipeline.Status) { st.Epoch++ },
		"the same, soon":          func(st *pipeline.Status) { st.Uptime = 0.1 },
		"the same, after a while": func(st *pipeline.Status) { st.Uptime = 9000 },
	} {
		m := New("x", false)
		for i := range 2 {
			f := sample(t, 10+i)
			if i == 1 {
				var st pipeline.Status
				if err := json.Unmarshal(f.Status, &st); err != nil {
					t.Fatal(err)
				}
				change(&st)
				text, err := json.Marshal(st)
				if err != nil {
					t.Fatal(err)
				}
				f.Status, f.At = text, f.At.Add(3*time.Hour)
			}
			if err := m.Frame(f); err != nil {
				t.Fatal(err)
			}
		}
		if m.before != nil {
			t.Errorf("%s: rates are made of frames of two runs", name)
		}
	}
}
