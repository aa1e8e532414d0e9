package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/packettext"
	"github.com/rtflow/pipelined/internal/unpack"
	"github.com/rtflow/pipelined/sdk/event"
)

const (
	// maxLine is how long a line of a log may be, in bytes.
	maxLine = 64 << 10
	// maxInterfaces is how many interfaces of a log are named.
	maxInterfaces = 10
)

// logLines counts the lines of a log of which no packet was carried.
type logLines struct {
	Unread int `json:"unread_lines,omitempty"` // of no flow
	// Misread tell of a flow, but not in a way that is understood, or are too long.
	Misread      int    `json:"misread_lines,omitempty"`
	FirstMisread string `json:"first_misread,omitempty"` // where the first of them stands, and what is wrong with it
	// Elsewhere are of interfaces that one configuration has and the other one has not.
	Elsewhere  int      `json:"lines_elsewhere,omitempty"`
	Interfaces []string `json:"interfaces_elsewhere,omitempty"` // at most [maxInterfaces] of them
}

func (l *logLines) misread(path string, line int, err error) {
	if l.Misread++; l.Misread == 1 {
		l.FirstMisread = fmt.Sprintf("%s:%d: %v", path, line, err)
	}
}

func (l *logLines) elsewhere(name string) {
	l.Elsewhere++
	if len(l.Interfaces) < maxInterfaces && !slices.Contains(l.Interfaces, name) {
		l.Interfaces = append(l.Interfaces, name)
	}
}

// write writes them for people.
func (l *logLines) write(b *strings.Builder) {
	if l.Unread > 0 {
		fmt.Fprintf(b, "lines of the log that tell of no flow: %d\n", l.Unread)
	}
	if l.Misread > 0 {
		fmt.Fprintf(b, "lines of the log that are not understood: %d, the first at %s\n", l.Misread, l.FirstMisread)
	}
	if l.Elsewhere > 0 {
		fmt.Fprintf(b, "lines of the log whose interface only one of the configurations has: %d (%s)\n", l.Elsewhere, strings.Join(l.Interfaces, ", "))
	}
}

// carryLog carries a packet of each flow that the log tells of.
func carryLog(ctx context.Context, path string, old, now *side) (l logLines, err error) {
	in, err := openLog(path)
	if err != nil {
		return l, err
	}
	defer in.Close()
	lines := bufio.NewReaderSize(in, maxLine)
	for n := 1; ; n++ {
		if ctx.Err() != nil {
			return l, errors.New("interrupted")
		}
		line, err := readLine(lines)
		switch {
		case errors.Is(err, io.EOF):
			if n > 1 && l.Unread+l.Misread == n-1 {
				return l, fmt.Errorf("%s: none of its lines tells of a flow in a way that is understood", path)
			}
			return l, nil
		case errors.Is(err, bufio.ErrBufferFull):
			l.misread(path, n, fmt.Errorf("the line is longer than %d bytes", maxLine))
			continue
		case err != nil:
			return l, fmt.Errorf("%s: %w", path, err)
		}
		p, err := packettext.ParseLog(line)
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
			l.elsewhere(p.In + p.Out)
			continue
		}
		for _, s := range []*side{old, now} {
			if err := s.recorder.Packet(p); err != nil {
				return l, fmt.Errorf("%s:%d: %s: %w", path, n, p.Text, err)
			}
		}
	}
}

// readLine returns the next line, [bufio.ErrBufferFull] for one that the buffer has no room for, which it has passed then.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, io.EOF) && len(line) > 0 {
		err = nil
	}
	text := strings.TrimRight(string(line), "\r\n")
	if !errors.Is(err, bufio.ErrBufferFull) {
		return text, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.ReadSlice('\n')
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return "", bufio.ErrBufferFull
}

// openLog opens a log, plain or compressed.
func openLog(path string) (io.ReadCloser, error) {
	f := os.Stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return nil, err
		}
	}
	b := bufio.NewReaderSize(f, maxLine)
	head, err := b.Peek(unpack.HeadSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	var r io.Reader = b
	if event.LooksLikeFrames(head) {
		return nil, errors.Join(fmt.Errorf("%s: it holds frames; 'pipelined read -f rfc5424' makes a log of them", path), f.Close())
	}
	if compressed := unpack.Detect(head); compressed != nil {
		if r, err = compressed.NewReader(b); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
		}
	}
	return struct {
		io.Reader
		io.Closer
	}{r, f}, nil
}
