package top

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/pipeline"
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
	{"state", "rec/s", "in flight", "lag", "lost"}, {"packets/s", "events", "/s", "share"}, {"kind", "events", "/s"},
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
	m.lists[zones].rows = m.zoneRows()
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

// zoneRows returns the zones that events or packets come from. They are sorted by packets, where packets are read, else by events.
func (m *Model) zoneRows() []row {
	report, packets := &m.now.summary, m.now.status.Ledger.Packets.ByZone
	zones := slices.Clone(report.Zones)
	for _, name := range slices.Sorted(maps.Keys(packets)) {
		if !slices.ContainsFunc(zones, func(r summary.Row) bool { return r.Name == name }) {
			zones = append(zones, summary.Row{Name: name})
		}
	}
	rows := summaryRows(zones, func(r *summary.Row) []string {
		rate := ""
		if packets[r.Name] > 0 {
			rate = number(m.zoneRate(r.Name))
		}
		return []string{rate, count(r.Count), perSecond(r.Count, report.Seconds), percent(r.Count, report.Seen)}
	})
	if len(packets) > 0 {
		for i := range rows {
			rows[i].value = m.zoneRate(zones[i].Name)
		}
	}
	return rows
}

// zoneRate returns how many packets a second come from a zone.
func (m *Model) zoneRate(name string) float64 {
	return m.rate(func(f *frame) uint64 { return f.status.Ledger.Packets.ByZone[name] })
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
		lost := ""
		if n := lostAt(m.now.status.Ledger.Sinks[name]); n > 0 {
			lost = count(n)
		}
		rate := m.rate(func(f *frame) uint64 { return acknowledged(f.status.Ledger.Sinks[name]) })
		r := row{
			key: name, name: terminal.Text(name), cells: []string{terminal.Text(state), number(rate), count(s.InFlight), lag, lost}, value: rate,
			bad: state != string(deliver.Running) || !s.OverflowSince.IsZero() || s.Spool != nil && s.Spool.Full != "",
		}
		if r.bad {
			r.note = terminal.Text(s.LastError)
		}
		if sp := s.Spool; sp != nil && sp.Held > 0 {
			r.note = strings.TrimSuffix("spool "+count(sp.Held)+"  "+r.note, "  ")
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
		r.text += spoolText(s.Spool) + accountText(m.now.status.Ledger.Sinks[name])
		rows = append(rows, r)
	}
	return rows
}

// acknowledged adds up what a sink's destination has taken.
func acknowledged(kinds map[string]metrics.Queue) (n uint64) {
	for _, q := range kinds {
		n += q.Acknowledged
	}
	return n
}

// lostAt adds up what a sink's destination has not got and will not get.
func lostAt(kinds map[string]metrics.Queue) (n uint64) {
	for _, q := range kinds {
		n += q.OverBudget + q.Disconnected + q.Closed + q.Rejected + q.Evicted + q.Abandoned
		if q.Spool != nil {
			n += q.Spool.Evicted + q.Spool.Damaged
		}
	}
	return n
}

// spoolText is the state of a spool at length.
func spoolText(sp *pipeline.SpoolStatus) string {
	if sp == nil {
		return ""
	}
	text := fmt.Sprintf("spool: %d records, %d of %d bytes in %d segments\n", sp.Held, sp.Bytes, sp.Size, sp.Segments)
	if sp.Full != "" {
		text += "the spool has no room: " + terminal.Text(sp.Full) + "\n"
	}
	if sp.Errors > 0 {
		text += fmt.Sprintf("its disk has failed %d times, the last time: %s\n", sp.Errors, terminal.Text(sp.LastError))
	}
	if sp.TornRecords > 0 || sp.Aside > 0 {
		text += fmt.Sprintf("at the start %d records were cut off; %d damaged files are kept\n", sp.TornRecords, sp.Aside)
	}
	return text
}

// accountText is what the ledger has of a sink: of each kind what is not 0.
func accountText(kinds map[string]metrics.Queue) string {
	var text strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		q := kinds[kind]
		spool := q.Spool
		if spool == nil {
			spool = new(metrics.Spool)
		}
		var parts []string
		for _, part := range []struct {
			what string
			n    uint64
		}{
			{"taken over", q.TakenOver}, {"absent", q.Absent}, {"filtered", q.Filtered}, {"queued", q.Queued}, {"over budget", q.OverBudget},
			{"disconnected", q.Disconnected}, {"closed", q.Closed}, {"acknowledged", q.Acknowledged}, {"rejected", q.Rejected}, {"evicted", q.Evicted},
			{"abandoned", q.Abandoned}, {"kept", q.Kept}, {"in flight", q.InFlight}, {"found in the spool", spool.Found}, {"spooled", spool.Spooled},
			{"unspooled", spool.Unspooled}, {"evicted from the spool", spool.Evicted}, {"damaged", spool.Damaged}, {"held", spool.Held},
		} {
			if part.n > 0 {
				parts = append(parts, fmt.Sprintf("%s %d", part.what, part.n))
			}
		}
		if len(parts) > 0 {
			text.WriteString(wrapped(terminal.Text(kind), parts))
		}
	}
	return text.String()
}

// wrapped puts parts behind a name, in lines that a small terminal has room for.
func wrapped(name string, parts []string) string {
	text, width := name+":", len(name)+1
	for i, part := range parts {
		if i > 0 {
			text += ","
		}
		if width+2+len(part) > 78 {
			text, width = text+"\n ", 1
		}
		text += " " + part
		width += 2 + len(part)
	}
	return text + "\n"
}
