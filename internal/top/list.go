package top

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/summary"
	"github.com/rtflow/pipelined/internal/terminal"
)

// The lists of the screen, in order.
const (
	sinks = iota
	zones
	rules
	sources
	destinations
	ports

	numLists
)

// titles are what lists are of.
var titles = [numLists]string{"sinks", "zones", "rules", "denied sources", "denied destinations", "denied ports"}

// headers are the columns of lists behind the name.
var headers = [numLists][]string{
	{"state", "rec/s", "in flight", "lag"}, {"events", "/s", "share"}, {"kind", "events", "/s"},
	{"denials", "error", "share"}, {"denials", "error", "share"}, {"denials", "error", "share"},
}

// row is a line of a list.
type row struct {
	key   string // which row it is, also when its place changes
	name  string // safe to be drawn
	note  string // stands behind the name, if there is room
	cells []string
	value float64 // what it is sorted by
	bad   bool    // something is wrong with it
	text  string  // what there is to say of it at length
	line  string  // of a log, that can be explained
}

// list is one list and what is looked at in it.
type list struct {
	rows   []row
	cursor string // key of the row that is selected, "" for the first
	byName bool
}

// shown returns the rows that match, in order, and the place of the one that is selected.
func (l *list) shown(match string) (rows []row, selected int) {
	match = strings.ToLower(match)
	for _, r := range l.rows {
		if match == "" || strings.Contains(strings.ToLower(r.name+" "+strings.Join(r.cells, " ")), match) {
			rows = append(rows, r)
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		if l.byName {
			return cmp.Compare(a.name, b.name)
		}
		return cmp.Or(cmp.Compare(b.value, a.value), cmp.Compare(a.name, b.name))
	})
	return rows, max(slices.IndexFunc(rows, func(r row) bool { return r.key == l.cursor }), 0)
}

// move selects the row that is so many behind the selected one.
func (l *list) move(match string, by int) {
	rows, selected := l.shown(match)
	if len(rows) > 0 {
		l.cursor = rows[min(max(selected+by, 0), len(rows)-1)].key
	}
}

// fill takes the rows of a frame.
func (m *Model) fill() {
	report := &m.now.summary
	m.lists[sinks].rows = m.sinkRows()
	m.lists[zones].rows = summaryRows(report.Zones, func(r *summary.Row) []string {
		return []string{count(r.Count), perSecond(r.Count, report.Seconds), percent(r.Count, report.Seen)}
	})
	m.lists[rules].rows = summaryRows(report.Rules, func(r *summary.Row) []string {
		return []string{terminal.Text(r.What), count(r.Count), perSecond(r.Count, report.Seconds)}
	})
	denials := func(r *summary.Row) []string {
		wrong := ""
		if r.Error > 0 {
			wrong = "-" + count(r.Error)
		}
		return []string{count(r.Count), wrong, percent(r.Count, report.Denials)}
	}
	m.lists[sources].rows = summaryRows(report.Sources, denials)
	m.lists[destinations].rows = summaryRows(report.Destinations, denials)
	m.lists[ports].rows = summaryRows(report.Ports, denials)
}

func perSecond(n uint64, seconds float64) string {
	if seconds <= 0 {
		return ""
	}
	return number(float64(n) / seconds)
}

func summaryRows(from []summary.Row, cells func(*summary.Row) []string) []row {
	rows := make([]row, len(from))
	for i := range from {
		r := &from[i]
		rows[i] = row{key: r.Name + " " + r.What, name: terminal.Text(r.Name), cells: cells(r), value: float64(r.Count), line: r.Example}
	}
	return rows
}

func (m *Model) sinkRows() (rows []row) {
	for _, name := range slices.Sorted(maps.Keys(m.now.status.Sinks)) {
		s := m.now.status.Sinks[name]
		state := string(s.Phase)
		if s.Phase == deliver.Running && !s.Up {
			state = "waiting"
		}
		lag := ""
		if s.LagSeconds >= 0.05 {
			lag = number(s.LagSeconds) + "s"
		}
		rate := m.rate(func(f *frame) uint64 { return uint64(f.status.Sinks[name].Acked) })
		r := row{
			key: name, name: terminal.Text(name), cells: []string{terminal.Text(state), number(rate), count(s.InFlight), lag}, value: rate,
			bad: state != string(deliver.Running) || !s.OverflowSince.IsZero(),
		}
		if r.bad {
			r.note = terminal.Text(s.LastError)
		}
		r.text = fmt.Sprintf("sink %s: %s since %s, started %d times\nhanded out to %d, acknowledged to %d, %d in flight, %d not handed out yet\n",
			r.name, terminal.Text(state), s.Since.Format("2006-01-02 15:04:05"), s.Runs, s.Sent, s.Acked, s.InFlight, s.LagRecords)
		if s.Overflow > 0 {
			r.text += fmt.Sprintf("the ring overflows since %s: %d records lost\n", s.OverflowSince.Format("15:04:05"), s.Overflow)
		}
		if s.LastError != "" {
			r.text += fmt.Sprintf("last error at %s: %s\n", s.ErrorAt.Format("2006-01-02 15:04:05"), terminal.Text(s.LastError))
		}
		if s.LastReject != "" {
			r.text += fmt.Sprintf("rejected %d, the last one: %s\n", s.Rejects, terminal.Text(s.LastReject))
		}
		rows = append(rows, r)
	}
	return rows
}
