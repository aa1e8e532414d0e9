package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// layout is how records lie in a file.
type layout struct {
	first string // the bytes a line may begin with; none for frames
}

func layoutOf(name string) layout {
	switch name {
	case format.JSON:
		return layout{"{"}
	case format.Frames:
		return layout{}
	case format.Text:
		return layout{"012-"} // the hour, or "-" for a time that is not known
	default:
		return layout{"<"}
	}
}

// maxTail is how far back the beginning of a torn line is looked for. Our longest line is below 4 KiB.
const maxTail = 64 << 10

// repair brings a file that an earlier process left, perhaps in the middle of a record, to a state in which it can be appended
// to. A torn record is cut off: its sequence was not acknowledged or, without sync, it was lost with the power. What does not
// look like ours is never cut.
func (l *logFile) repair(f *os.File, now time.Time) error {
	in, err := l.at.OpenFile(os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("file: cannot read the end of %s: %w", l.path, err)
	}
	defer func() { _ = in.Close() }()
	if !sameFile(in, f) {
		return fmt.Errorf("file: %s was replaced while it was opened", l.path)
	}
	if l.layout.first == "" {
		return l.repairFrames(in, f, now)
	}
	return l.repairLines(in, f)
}

func (l *logFile) repairLines(in *os.File, f *os.File) error {
	tail := make([]byte, min(l.size, maxTail))
	if _, err := in.ReadAt(tail, l.size-int64(len(tail))); err != nil {
		return fmt.Errorf("file: cannot read the end of %s: %w", l.path, err)
	}
	line := tail[bytes.LastIndexByte(tail, '\n')+1:]
	switch {
	case len(line) == 0:
		return nil
	case strings.IndexByte(l.layout.first, line[0]) >= 0 && (len(line) < len(tail) || int64(len(tail)) == l.size):
		l.warn("cutting off a torn line", "path", l.path, "bytes", len(line))
		l.size -= int64(len(line))
		if err := f.Truncate(l.size); err != nil {
			return fmt.Errorf("file: cannot cut off a torn line: %w", err)
		}
		return nil
	default: // somebody else's: end it
		n, err := f.Write([]byte{'\n'})
		l.size += int64(n)
		if err != nil {
			return fmt.Errorf("file: %w", err)
		}
		return nil
	}
}

// repairFrames reads the whole file: where a frame begins is only known from the one before it. A file that holds something
// else is set aside under the name of a rotated file.
func (l *logFile) repairFrames(in *os.File, f *os.File, now time.Time) error {
	whole, err := lastWholeFrame(in)
	var foreign *event.FrameError
	switch {
	case errors.As(err, &foreign):
		l.warn("not a file of frames: it is set aside", "path", l.path, "offset", whole, "error", err)
		if err := l.setAside(now); err != nil {
			return fmt.Errorf("file: %s is not a file of frames and cannot be renamed: %w", l.path, err)
		}
		return fmt.Errorf("file: %s was not a file of frames and has been renamed; a new one follows", l.path)
	case err != nil:
		return fmt.Errorf("file: cannot read %s: %w", l.path, err)
	case whole < l.size:
		l.warn("cutting off a torn frame", "path", l.path, "bytes", l.size-whole)
		l.size = whole
		if err := f.Truncate(whole); err != nil {
			return fmt.Errorf("file: cannot cut off a torn frame: %w", err)
		}
	}
	return nil
}

// lastWholeFrame returns where the last whole frame ends. Bytes that are no frame are a [*event.FrameError].
func lastWholeFrame(in io.Reader) (whole int64, err error) {
	var r event.Record
	buf := make([]byte, 256<<10)
	held := 0
	for {
		n, err := in.Read(buf[held:])
		held += n
		at := 0
		for {
			size, decodeErr := r.Decode(buf[at:held])
			if errors.Is(decodeErr, event.ErrShort) {
				break
			}
			var odd *event.FrameError
			if decodeErr != nil && !(errors.As(decodeErr, &odd) && odd.Type == event.FrameNames && odd.Size > 0) {
				return whole, decodeErr
			}
			at += size
			whole += int64(size)
		}
		held = copy(buf, buf[at:held])
		if errors.Is(err, io.EOF) {
			return whole, nil
		}
		if err != nil {
			return whole, err
		}
	}
}
