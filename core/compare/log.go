package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/packettext"
	"github.com/rtflow/pipelined/internal/syslogframe"
)

// maxInterfaces is how many interfaces of a log are named.
const maxInterfaces = 10

// LogLines counts the lines of a log, or its octet-counted messages, of which no packet was carried.
type LogLines struct {
	Unread int `json:"unread_lines,omitempty"` // of no flow
	// Misread tell of a flow, but not in a way that is understood, or are too long or cut off.
	Misread      int    `json:"misread_lines,omitempty"`
	FirstMisread string `json:"first_misread,omitempty"` // where the first of them stands, and what is wrong with it
	// Elsewhere are of interfaces that one configuration has and the other one has not.
	Elsewhere  int      `json:"lines_elsewhere,omitempty"`
	Interfaces []string `json:"interfaces_elsewhere,omitempty"` // at most [maxInterfaces] of them
}

func (l *LogLines) misread(path string, line int, err error) {
	if l.Misread++; l.Misread == 1 {
		l.FirstMisread = fmt.Sprintf("%s:%d: %v", path, line, err)
	}
}

func (l *LogLines) elsewhere(name string) {
	l.Elsewhere++
	if len(l.Interfaces) < maxInterfaces && !slices.Contains(l.Interfaces, name) {
		l.Interfaces = append(l.Interfaces, name)
	}
}

// Text returns the counts for people, each in a line of its own; "" if all lines were carried.
func (l *LogLines) Text() string {
	var b strings.Builder
	if l.Unread > 0 {
		fmt.Fprintf(&b, "lines of the log that tell of no flow: %d\n", l.Unread)
	}
	if l.Misread > 0 {
		fmt.Fprintf(&b, "lines of the log that are not understood: %d, the first at %s\n", l.Misread, l.FirstMisread)
	}
	if l.Elsewhere > 0 {
		fmt.Fprintf(&b, "lines of the log whose interface only one of the configurations has: %d (%s)\n", l.Elsewhere, strings.Join(l.Interfaces, ", "))
	}
	return b.String()
}

// CarryLog carries a packet of each flow that a log tells of past both recorders. The log is of lines or of octet-counted messages.
// path names it in messages.
func CarryLog(ctx context.Context, path string, log io.Reader, old, now *Recorder) (l LogLines, err error) {
	told := false // of a flow
	for in := syslogframe.NewReader(log); ; {
		if ctx.Err() != nil {
			return l, errors.New("interrupted")
		}
		msg, n, err := in.Next()
		if framing, ok := errors.AsType[*syslogframe.FramingError](err); ok {
			l.misread(path, n, errors.New(framing.Reason))
			continue
		}
		switch {
		case errors.Is(err, io.EOF) && !told && l.Unread+l.Misread > 0:
			return l, fmt.Errorf("%s: none of its lines tells of a flow in a way that is understood", path)
		case errors.Is(err, io.EOF):
			return l, nil
		case err != nil:
			return l, fmt.Errorf("%s: %w", path, err)
		}
		text := strings.TrimRight(string(msg), "\r\n")
		if text == "" { // as behind a message that is both counted and ended
			continue
		}
		p, err := packettext.ParseLog(text)
		if errors.Is(err, packettext.ErrNoRecord) {
			l.Unread++
			continue
		}
		if err != nil {
			l.misread(path, n, err)
			continue
		}
		_, oldErr := old.x.FrameOf(p)
		_, nowErr := now.x.FrameOf(p)
		switch {
		case oldErr != nil && nowErr != nil:
			l.misread(path, n, oldErr)
			continue
		case oldErr != nil || nowErr != nil:
			told = true
			l.elsewhere(p.In + p.Out)
			continue
		}
		told = true
		for _, s := range []*Recorder{old, now} {
			if err := s.Packet(p); err != nil {
				return l, fmt.Errorf("%s:%d: %s: %w", path, n, p.Text, err)
			}
		}
	}
}
