package framefile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rtflow/pipelined/internal/unpack"
	"github.com/rtflow/pipelined/sdk/event"
)

const bufferSize = 1 << 16

// Open opens the file at path, stdin if it is "-", and reports whether it holds frames; a compressed file of frames is then
// read unpacked. Otherwise input reads the file as it is, from its beginning, and is empty for a path that is no regular file.
// The caller closes input.
func Open(path string, stdin *os.File) (input io.ReadCloser, frames bool, err error) {
	f := stdin
	if path != "-" {
		st, err := os.Stat(path)
		if err != nil {
			return nil, false, err
		}
		if !st.Mode().IsRegular() {
			return io.NopCloser(eofReader{}), false, nil // opening a FIFO or a device may have an effect
		}
		if f, err = os.Open(path); err != nil {
			return nil, false, err
		}
	}
	b := bufio.NewReaderSize(f, bufferSize)
	head, err := b.Peek(event.HeaderSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	if compressed := unpack.Detect(head); compressed != nil && path != "-" {
		return openCompressed(f, compressed)
	}
	return readCloser{b, f}, event.LooksLikeFrames(head), nil
}

// openCompressed reports whether the compressed file holds frames, and then returns a reader that unpacks them.
func openCompressed(f *os.File, compressed *unpack.Format) (input io.ReadCloser, frames bool, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	z, err := compressed.NewReader(f)
	if err == nil {
		b := bufio.NewReaderSize(z, bufferSize)
		if head, err := b.Peek(event.HeaderSize); err == nil && event.LooksLikeFrames(head) {
			return readCloser{b, f}, true, nil
		}
	}
	_, err = f.Seek(0, io.SeekStart) // whoever reads the file finds what is wrong with the compression
	return f, false, err
}

type readCloser struct {
	io.Reader
	io.Closer
}

type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }
