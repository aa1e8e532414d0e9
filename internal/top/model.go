package top

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/rtflow/pipelined/core/control"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/core/summary"
	"github.com/rtflow/pipelined/internal/terminal"
)

// Model is the screen. It is for one goroutine.
type Model struct {
	at     string // where the daemon is asked
	colour bool

	width, height int

	now, before      *frame // nil: there was none yet
	packets, events  []float64
	trouble          string // why there are no frames; "" while there are
	lists            [numLists]list
	focus            int
	paused           bool
	match            string
	typing           bool
	overlay          []string // lines that are shown instead of the lists; nil: none
	scrolled         int      // lines of it
	wantsExplanation string
}

// frame is a frame of the daemon, read.
type frame struct {
	at        time.Time
	status    pipeline.Status
	unhealthy string
	summary   summary.Report
}

// New returns a screen without a frame yet, which looks at rules. at is where the daemon is asked; colour says whether text may be coloured.
func New(at string, colour bool) *Model {
	return &Model{at: terminal.Text(at), colour: colour, width: 80, height: 24, focus: rules}
}

// Resize sets the size of the terminal in cells.
func (m *Model) Resize(width, height int) { m.width, m.height = width, height }

// Frame takes over a frame, unless the screen is paused. The error says that it is none.
func (m *Model) Frame(f *control.Frame) error {
	next := &frame{at: f.At, unhealthy: terminal.Text(strings.Join(strings.Fields(f.Unhealthy), " ")), summary: f.Summary}
	dec := json.NewDecoder(bytes.NewReader(f.Status))
	dec.UseNumber()
	if err := dec.Decode(&next.status); err != nil {
		return err
	}
	m.trouble = ""
	if m.paused {
		return nil
	}
	m.before, m.now = m.now, next
	if m.before != nil && (restarted(m.before, next) || !next.at.After(m.before.at)) {
		m.before = nil // another daemon
	}
	if m.before != nil {
		m.packets = remember(m.packets, m.rate(received))
		m.events = remember(m.events, m.rate(admitted))
	}
	m.fill()
	return nil
}

// restarted reports whether another run of the daemon tells the later frame: its counters begin anew, also where it has kept the epoch.
func restarted(last, now *frame) bool {
	return now.status.Epoch != last.status.Epoch || now.status.Uptime < last.status.Uptime || now.status.Uptime < now.at.Sub(last.at).Seconds()
}

// Trouble says why no frame comes.
func (m *Model) Trouble(why string) { m.trouble = terminal.Text(why) }

// Wanted returns the line of a log of which the user wants an explanation, once; "" if there is none.
func (m *Model) Wanted() string {
	line := m.wantsExplanation
	m.wantsExplanation = ""
	return line
}

// Show shows a text instead of the lists, until it is left.
func (m *Model) Show(text string) {
	m.overlay, m.scrolled = []string{}, 0
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		m.overlay = append(m.overlay, terminal.Text(strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", "    ")))
	}
}

// rate returns by how much a counter grows in a second.
func (m *Model) rate(of func(*frame) uint64) float64 {
	if m.before == nil {
		return 0
	}
	now, before := of(m.now), of(m.before)
	if now < before {
		return 0 // it has begun anew
	}
	return float64(now-before) / m.now.at.Sub(m.before.at).Seconds()
}

func received(f *frame) uint64 { return f.status.Ledger.Packets.Received }

func admitted(f *frame) (n uint64) {
	for _, e := range f.status.Ledger.Events {
		n += e.Admitted
	}
	return n
}
