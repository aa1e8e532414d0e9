package top

// help says what keys do.
const help = `Keys

  q, Ctrl-C        quit
  Tab, Shift-Tab   the next list, the one before
  ↑ ↓ PgUp PgDn    select a line; also k, j, Home, End
  Enter            what became of the newest event of the line, and by which rule:
                   what 'pipelined explain' says. Of a sink: its state at length
  s                sort by name, and back by number
  /                show lines with a text only; Enter keeps it, Esc ends it
  p, Space         pause, and go on
  ?                this page
  Esc              back

Numbers

  packets and events are per second. What the lists count is of the last minute, but
  for sinks. Addresses and ports are of denials: policies that deny or reject, screens
  and filters that drop. 'error' is by how much a number may be too high: the daemon
  counts the heaviest in bounded memory. 'left out' are events that were too many to
  be shown; the header has all of them.`

// Key takes a key, by its name: "a", "enter", "shift+tab", "ctrl+c". It reports whether the user wants to leave.
func (m *Model) Key(key string) (quit bool) {
	switch {
	case key == "ctrl+c":
		return true
	case m.typing:
		m.typed(key)
		return false
	case m.overlay != nil:
		return m.overlayKey(key)
	}
	l := &m.lists[m.focus]
	switch key {
	case "q":
		return true
	case "tab", "right":
		m.focus = (m.focus + 1) % numLists
	case "shift+tab", "left":
		m.focus = (m.focus + numLists - 1) % numLists
	case "s":
		l.byName = !l.byName
	case "p", "space", " ":
		m.paused = !m.paused
	case "/":
		m.typing = true
	case "esc":
		m.match = ""
	case "?", "h":
		m.Show(help)
	case "enter":
		m.enter(l)
	default:
		l.move(m.match, m.steps(key, len(l.rows)))
	}
	return false
}

// steps returns by how many lines a key moves.
func (m *Model) steps(key string, all int) int {
	switch key {
	case "up", "k":
		return -1
	case "down", "j":
		return 1
	case "pgup":
		return -max(m.height/2, 1)
	case "pgdown":
		return max(m.height/2, 1)
	case "home":
		return -all
	case "end":
		return all
	default:
		return 0
	}
}

// typed takes a key of the text that lines must have.
func (m *Model) typed(key string) {
	switch key {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.match = false, ""
	case "backspace":
		if r := []rune(m.match); len(r) > 0 {
			m.match = string(r[:len(r)-1])
		}
	case "space":
		m.match += " "
	default:
		if r := []rune(key); len(r) == 1 && len(m.match) < 64 {
			m.match += key
		}
	}
}

// overlayKey takes a key while a text is shown.
func (m *Model) overlayKey(key string) (quit bool) {
	switch key {
	case "esc", "enter", "?", "h":
		m.overlay = nil
	case "q":
		return true
	default:
		most := max(len(m.overlay)-m.body(), 0)
		m.scrolled = min(max(m.scrolled+m.steps(key, len(m.overlay)), 0), most)
	}
	return false
}

// enter shows what there is to say of the selected line, or has it explained.
func (m *Model) enter(l *list) {
	rows, selected := l.shown(m.match)
	switch {
	case len(rows) == 0:
	case rows[selected].line != "":
		m.wantsExplanation = rows[selected].line
	case rows[selected].text != "":
		m.Show(rows[selected].text)
	default:
		m.Show("There was no event of this line in the last minute.")
	}
}
