package top

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/rtflow/pipelined/sdk/event"
)

const (
	// wide is from which width on the lists stand in two columns.
	wide = 110
	// header is how many lines stand above the lists.
	header = 6
)

// style is a colour, of those that every terminal has (ECMA-48), or an emphasis.
type style string

const (
	bold     style = "1"
	dim      style = "2"
	reverse  style = "7"
	red      style = "31"
	green    style = "32"
	yellow   style = "33"
	cyanBold style = "1;36"
)

func (m *Model) paint(s style, text string) string {
	if !m.colour || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// body is how many lines there are between the header and the keys.
func (m *Model) body() int { return max(m.height-header-1, 1) }

// View draws the screen: as many lines as the terminal has, none wider than it.
func (m *Model) View() string {
	lines := append(m.header(), m.middle()...)
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	lines = append(lines[:max(min(len(lines), m.height-1), 0)], m.keys())
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, m.width, "")
	}
	return strings.Join(lines, "\n")
}

// All draws everything there is, whatever the size of a terminal.
func (m *Model) All() string {
	lines := m.header()
	for i := range m.lists {
		rows, _ := m.lists[i].shown("")
		lines = append(lines, m.list(i, len(rows)+1, m.width, false)...)
		lines = append(lines, "")
	}
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

func (m *Model) middle() []string {
	if m.overlay == nil {
		return m.grid()
	}
	return m.overlay[min(m.scrolled, len(m.overlay)):min(m.scrolled+m.body(), len(m.overlay))]
}

// header is the part that is always there.
func (m *Model) header() []string {
	if m.now == nil {
		state := "waiting for the first numbers"
		if m.trouble != "" {
			state = m.paint(red, m.trouble)
		}
		return []string{m.paint(bold, "pipelined at "+m.at), state, "", "", "", ""}
	}
	f := m.now
	state := m.paint(green, "healthy")
	switch {
	case m.trouble != "":
		state = m.paint(red, m.trouble)
	case f.unhealthy != "":
		state = m.paint(red, "NOT HEALTHY: "+f.unhealthy)
	case f.status.Stopping:
		state = m.paint(yellow, "stopping")
	}
	if m.paused {
		state = m.paint(reverse, "PAUSED") + " " + state
	}
	up := time.Duration(f.status.Uptime * float64(time.Second)).Round(time.Second)
	first := fmt.Sprintf("%s  %s  up %s  config %d  %s", m.paint(bold, "pipelined at "+m.at), state, up, f.status.Configuration.Number,
		f.at.Format("15:04:05"))
	return []string{first, m.verdict(), m.packetLine(), m.eventLine(), m.sessionLine(), m.seenLine()}
}

// verdict is the ledger in a line.
func (m *Model) verdict() string {
	led := &m.now.status.Ledger
	text := m.paint(green, "everything is accounted for")
	if led.Unaccounted > 0 { // counters that belong together are read a moment apart
		text = m.paint(yellow, count(led.Unaccounted)+" on the way or not accounted for")
	}
	var limited, over, evicted, damaged, gone uint64
	for _, e := range led.Events {
		limited += e.RateLimited
	}
	for _, kinds := range m.now.status.Ledger.Sinks {
		for _, q := range kinds {
			over += q.OverBudget + q.Disconnected
			evicted += q.Evicted
			gone += q.Abandoned + q.Rejected
			if q.Spool != nil {
				evicted += q.Spool.Evicted
				damaged += q.Spool.Damaged
			}
		}
	}
	for _, part := range []struct {
		what string
		n    uint64
	}{{"limited", limited}, {"refused by rings", over}, {"evicted", evicted}, {"damaged", damaged}, {"rejected or abandoned", gone},
		{"packets lost", led.Packets.Lost}, {"packets bypassed", led.Packets.Bypassed}, {"packets not sent", led.Packets.NotSent}, {"events unread", led.Unread}} {
		if part.n > 0 {
			text += ", " + m.paint(yellow, part.what+" "+count(part.n))
		}
	}
	return "ledger     " + text
}

// sparkWidth is how wide sparklines are.
func (m *Model) sparkWidth() int { return min(max((m.width-60)/2, 8), history) }

func (m *Model) packetLine() string {
	var line strings.Builder
	fmt.Fprintf(&line, "packets/s  %5s %-*s ", number(m.rate(received)), m.sparkWidth(), spark(m.packets, m.sparkWidth()))
	for _, part := range []struct {
		what string
		of   func(*frame) uint64
		bad  bool
	}{
		{"passed", func(f *frame) uint64 { return f.status.Ledger.Packets.Passed }, false},
		{"forwarded", func(f *frame) uint64 { return f.status.Ledger.Packets.Forwarded }, false},
		{"dropped", func(f *frame) uint64 { return f.status.Ledger.Packets.Dropped }, false},
		{"refused", func(f *frame) uint64 { return f.status.Ledger.Packets.Refused }, false},
		{"lost", func(f *frame) uint64 { return f.status.Ledger.Packets.Lost }, true},
		{"bypassed", func(f *frame) uint64 { return f.status.Ledger.Packets.Bypassed }, true},
		{"not sent", func(f *frame) uint64 { return f.status.Ledger.Packets.NotSent }, true},
		{"offloaded", func(f *frame) uint64 { return f.status.Ledger.Packets.Offloaded }, false},
	} {
		if part.of(m.now) == 0 {
			continue
		}
		text, rate := part.what, m.rate(part.of)
		if text += " " + number(rate); part.bad && rate > 0 {
			text = m.paint(red, text)
		}
		line.WriteString(" " + text)
	}
	return line.String()
}

// verbs are the kinds of events as the format text has them.
var verbs = [event.NumKinds]string{"open", "close", "deny", "screen", "filter", "loss"}

func (m *Model) eventLine() string {
	var line strings.Builder
	fmt.Fprintf(&line, "events/s   %5s %-*s ", number(m.rate(admitted)), m.sparkWidth(), spark(m.events, m.sparkWidth()))
	for _, k := range event.Kinds() {
		if m.now.status.Ledger.Events[k.String()].Offered == 0 {
			continue
		}
		rate := m.rate(func(f *frame) uint64 { return f.status.Ledger.Events[k.String()].Admitted })
		line.WriteString(" " + verbs[k] + " " + number(rate))
	}
	if limited := m.rate(func(f *frame) (n uint64) {
		for _, e := range f.status.Ledger.Events {
			n += e.RateLimited
		}
		return n
	}); limited > 0 {
		line.WriteString(" " + m.paint(yellow, "limited "+number(limited)))
	}
	return line.String()
}

func (m *Model) sessionLine() string {
	s := &m.now.status.Ledger.Sessions
	line := fmt.Sprintf("sessions   %5s %-*s  +%s/s -%s/s", count(s.Active), m.sparkWidth(), "",
		number(m.rate(func(f *frame) uint64 { return f.status.Ledger.Sessions.Created })),
		number(m.rate(func(f *frame) uint64 { return f.status.Ledger.Sessions.Closed })))
	if s.Full > 0 {
		line += " " + m.paint(red, "table full "+count(s.Full))
	}
	return line
}

func (m *Model) seenLine() string {
	r := &m.now.summary
	line := fmt.Sprintf("lists      %s events in %.0f s, %s denials", count(r.Seen), r.Seconds, count(r.Denials))
	if r.LeftOut > 0 {
		line += ", " + m.paint(yellow, count(r.LeftOut)+" left out")
	}
	if m.match != "" || m.typing {
		line += ", with " + m.paint(bold, "/"+m.match)
		if m.typing {
			line += "_"
		}
	}
	return line
}

func (m *Model) keys() string {
	text := "q quit  Tab list  ↑↓ line  Enter explain  s sort  / find  p pause  ? help"
	switch {
	case m.typing:
		text = "type a text  Enter keep  Esc end"
	case m.overlay != nil:
		text = "Esc back  ↑↓ scroll  q quit"
	}
	return m.paint(dim, text)
}

// grid draws the lists: all of them if there is room, else the one that is looked at.
func (m *Model) grid() []string {
	height := m.body()
	columns := 1
	if m.width >= wide {
		columns = 2
	}
	each := numLists / columns
	if height < 3*each { // a title, a line and an empty one
		return append([]string{m.tabs()}, m.list(m.focus, height-1, m.width, true)...)
	}
	width := (m.width - 3*(columns-1)) / columns
	drawn := make([][]string, columns)
	for c := range columns {
		first := c * each
		for i, n := range m.share(first, each, height) {
			drawn[c] = append(drawn[c], m.list(first+i, n-1, width, first+i == m.focus)...)
			drawn[c] = append(drawn[c], "")
		}
	}
	lines := make([]string, height)
	for i := range lines {
		for c := range columns {
			cell := ""
			if i < len(drawn[c]) {
				cell = drawn[c][i]
			}
			if c > 0 {
				lines[i] += "   "
			}
			lines[i] += pad(cell, width)
		}
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

// share divides the lines of a column among lists, an empty line behind each included: first a title and a row for each, then what each
// has rows for, the one that is looked at first.
func (m *Model) share(first, n, height int) []int {
	lines := make([]int, n)
	left := height
	for i := range lines {
		lines[i] = 3
		left -= 3
	}
	want := func(i int) int { return max(len(m.lists[first+i].rows)-1-(lines[i]-3), 0) }
	if f := m.focus - first; f >= 0 && f < n {
		more := min(want(f), left*2/3)
		lines[f] += more
		left -= more
	}
	for left > 0 {
		gave := false
		for i := range lines {
			if left > 0 && want(i) > 0 {
				lines[i]++
				left--
				gave = true
			}
		}
		if !gave {
			break
		}
	}
	return lines
}

// tabs names the lists, where only one is drawn.
func (m *Model) tabs() string {
	var names []string
	for i, title := range titles {
		if i == m.focus {
			title = m.paint(reverse, "["+title+"]")
		}
		names = append(names, title)
	}
	return strings.Join(names, "  ")
}

// list draws a list in so many lines: its title with the names of the columns, and rows, among them the one that is selected.
func (m *Model) list(i, height, width int, focused bool) []string {
	rows, selected := m.lists[i].shown(m.match)
	visible := max(height-1, 0)
	first := 0
	if selected >= visible {
		first = selected - visible + 1
	}
	rows = rows[:min(len(rows), first+visible)]
	widths := make([]int, len(headers[i]))
	for c, name := range headers[i] {
		widths[c] = ansi.StringWidth(name)
		for _, r := range rows[min(first, len(rows)):] {
			widths[c] = max(widths[c], ansi.StringWidth(r.cells[c]))
		}
	}
	title := strings.ToUpper(titles[i])
	if m.lists[i].byName {
		title += " by name"
	}
	lines := []string{m.paint(cyanBold, columns("  "+title, headers[i], widths, width))}
	if len(rows) == 0 && height > 1 {
		return append(lines, m.paint(dim, "  none"))
	}
	for j := first; j < len(rows); j++ {
		r := &rows[j]
		mark := "  "
		if focused && j == selected {
			mark = "> "
		}
		name := mark + r.name
		if r.note != "" {
			name += "  " + r.note
		}
		line := columns(name, r.cells, widths, width)
		switch {
		case focused && j == selected:
			line = m.paint(reverse, line)
		case r.bad:
			line = m.paint(red, line)
		}
		lines = append(lines, line)
	}
	return lines
}

// columns puts a name to the left and cells to the right. What does not fit is cut from the name, then from the right.
func columns(name string, cells []string, widths []int, width int) string {
	var right strings.Builder
	for c, cell := range cells {
		right.WriteString("  " + strings.Repeat(" ", max(widths[c]-ansi.StringWidth(cell), 0)) + cell)
	}
	room := max(width-ansi.StringWidth(right.String()), 12)
	return ansi.Truncate(pad(ansi.Truncate(name, room, "…"), room)+right.String(), width, "")
}

// pad puts blanks behind a text, so that it is as wide as it should be.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(width-ansi.StringWidth(text), 0))
}
