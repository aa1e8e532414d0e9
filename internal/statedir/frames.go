package statedir

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Layout of a file of frames: the magic bytes, then frames, the last of which is of type end and has the number of those before it.
// Integers are little-endian. A frame is
//
//	0  u32  length of the payload    4  u8  type    5  3 bytes  zero    8  u32  CRC-32C of bytes 0 to 7 and of the payload
//	12      payload
const (
	magic     = "pipelined\x00\x00\x01" // the last byte is the version of this layout
	frameHead = 12
	// MaxFrame is the largest payload of a frame, in bytes.
	MaxFrame = 1 << 28
	// endFrame is the type of the last frame.
	endFrame = 0xff
)

// castagnoli is the polynomial that processors have an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// FrameWriter writes a file of frames. It is used by one goroutine. After an error it writes nothing more.
type FrameWriter struct {
	w   *bufio.Writer
	n   uint64
	err error
}

// writeBuffer is how many bytes are written at once.
const writeBuffer = 1 << 18

// WriteFrames writes the frames that fill writes, and what must stand around them.
func WriteFrames(to io.Writer, fill func(w *FrameWriter) error) error {
	w := &FrameWriter{w: bufio.NewWriterSize(to, writeBuffer)}
	_, w.err = w.w.WriteString(magic)
	if err := fill(w); err != nil {
		return err
	}
	w.frame(endFrame, binary.LittleEndian.AppendUint64(nil, w.n))
	if w.err != nil {
		return w.err
	}
	return w.w.Flush()
}

// Frame writes a frame. Types are those of the caller, but for 255.
func (w *FrameWriter) Frame(kind uint8, payload []byte) error {
	if w.err == nil && (kind == endFrame || len(payload) > MaxFrame) {
		w.err = fmt.Errorf("a frame of type %d with %d bytes cannot be written", kind, len(payload))
	}
	w.frame(kind, payload)
	return w.err
}

func (w *FrameWriter) frame(kind uint8, payload []byte) {
	if w.err != nil {
		return
	}
	head := make([]byte, frameHead)
	binary.LittleEndian.PutUint32(head, uint32(len(payload)))
	head[4] = kind
	binary.LittleEndian.PutUint32(head[8:], checksum(head, payload))
	if _, w.err = w.w.Write(head); w.err == nil {
		_, w.err = w.w.Write(payload)
	}
	w.n++
}

func checksum(head, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(head[:8], castagnoli), castagnoli, payload)
}

// ReadFrames calls each with the frames of a file, in order. A payload is valid until the next call. It takes no more memory than the
// largest frame that is there, whatever a length says. An error of each ends it and is returned; else it returns nil only if the file
// is whole: every checksum is right, the last frame is there, and nothing is behind it.
func ReadFrames(from io.Reader, each func(kind uint8, payload []byte) error) error {
	r := bufio.NewReaderSize(from, writeBuffer)
	first := make([]byte, len(magic))
	if _, err := io.ReadFull(r, first); err != nil {
		return cutOff(err)
	}
	if string(first) != magic {
		return fmt.Errorf("it begins with %q, want %q: another layout", first, magic)
	}
	var payload bytes.Buffer
	head := make([]byte, frameHead)
	for n := uint64(0); ; n++ {
		if _, err := io.ReadFull(r, head); err != nil {
			return cutOff(err)
		}
		length := binary.LittleEndian.Uint32(head)
		if length > MaxFrame {
			return fmt.Errorf("frame %d has %d bytes, at most %d are allowed", n, length, MaxFrame)
		}
		payload.Reset()
		if _, err := io.CopyN(&payload, r, int64(length)); err != nil {
			return cutOff(err)
		}
		if want, got := binary.LittleEndian.Uint32(head[8:]), checksum(head, payload.Bytes()); got != want {
			return fmt.Errorf("frame %d has the checksum %08x, want %08x", n, got, want)
		}
		if head[4] == endFrame {
			return checkEnd(r, payload.Bytes(), n)
		}
		if err := each(head[4], payload.Bytes()); err != nil {
			return fmt.Errorf("frame %d, type %d: %w", n, head[4], err)
		}
	}
}

// checkEnd checks the last frame, behind n others, and that nothing follows it.
func checkEnd(r io.Reader, payload []byte, n uint64) error {
	if len(payload) != 8 || binary.LittleEndian.Uint64(payload) != n {
		return fmt.Errorf("the last frame does not say that there are %d before it", n)
	}
	if k, err := r.Read(make([]byte, 1)); k > 0 {
		return errors.New("there is something behind the last frame")
	} else if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// errCutOff is the error of a file that ends too early.
var errCutOff = errors.New("it is cut off")

func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCutOff
	}
	return err
}
