// Package unpack reads streams compressed with gzip, zstd, xz or lz4, which it recognizes by their first bytes.
//
// Streams that follow each other in one file are read one after the other.
//
// Sizes that a stream claims are not trusted: reading needs at most [MaxWindow] bytes and a few MiB, a stream that would
// need more is refused, and one that ends too early gives what could be read and then an error that wraps
// [io.ErrUnexpectedEOF].
package unpack

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

const (
	// HeadSize is how many bytes [Detect] needs.
	HeadSize = 6
	// MaxWindow is the most bytes of history that a stream may refer to. It is what zstd --long and xz -9e need at most.
	MaxWindow = 128 << 20
	// pieceSize is the most that is unpacked at once: what a pipe has given is not held back for more.
	pieceSize = 64 << 10

	gzipMagic = "\x1f\x8b"
)

// Format is a compressed format.
type Format struct {
	Name  string // as an error says it
	magic string
	// open returns what the stream holds. Where it can tell that what follows the end is no stream, it calls garbage and ends; nil: that is
	// an error.
	open func(b *bufio.Reader, garbage func()) (io.Reader, error)
}

var formats = []Format{
	{"gzip", gzipMagic, func(r *bufio.Reader, garbage func()) (io.Reader, error) {
		z, err := gzip.NewReader(r)
		if err != nil || garbage == nil {
			return z, err
		}
		z.Multistream(false)
		return &members{z, r, garbage}, nil
	}},
	{"zstd", "\x28\xb5\x2f\xfd", func(r *bufio.Reader, _ func()) (io.Reader, error) {
		// With a concurrency of 1 there are no goroutines, and nothing to close.
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(MaxWindow), zstd.WithDecoderLowmem(true))
	}},
	{"xz", "\xfd7zXZ\x00", func(r *bufio.Reader, _ func()) (io.Reader, error) {
		return xz.ReaderConfig{DictCap: lzma.MinDictCap}.NewReader(newXZ(r)) // at least that; else what the stream claims
	}},
	{"lz4", lz4Magic, func(r *bufio.Reader, _ func()) (io.Reader, error) {
		z := lz4.NewReader(newLZ4(r))
		return z, z.Apply(lz4.ConcurrencyOption(1))
	}},
}

// Detect returns the format of a stream that begins with head, nil if it is not compressed.
func Detect(head []byte) *Format {
	for i := range formats {
		if strings.HasPrefix(string(head[:min(len(head), HeadSize)]), formats[i].magic) {
			return &formats[i]
		}
	}
	return nil
}

// NewReader returns what the stream holds. Errors say that it is the compression that is damaged, not what is inside. The
// reader need not be closed.
func (f *Format) NewReader(r io.Reader) (io.Reader, error) { return f.NewLenientReader(r, nil) }

// NewLenientReader is NewReader, and takes bytes behind the end of a gzip stream that are no other one for garbage, as gzip(1) does: it
// calls garbage, once, by whoever reads, and ends.
func (f *Format) NewLenientReader(r io.Reader, garbage func()) (io.Reader, error) {
	z, err := f.open(bufio.NewReaderSize(r, pieceSize), garbage)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, f.wrap(err)
	}
	return &reader{f: f, z: z}, nil
}

// wrap says of an error which format it is about.
func (f *Format) wrap(err error) error {
	if strings.HasPrefix(err.Error(), f.Name+":") {
		return err
	}
	return fmt.Errorf("%s: %w", f.Name, err)
}

// reader reads at most pieceSize bytes at once, and wraps errors. The first error stays.
type reader struct {
	f   *Format
	z   io.Reader
	err error
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	n, err := r.z.Read(p[:min(len(p), pieceSize)])
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.f.wrap(err)
	}
	r.err = err
	return n, err
}

// members reads gzip streams that follow each other, and ends before what is none.
type members struct {
	z       *gzip.Reader
	br      *bufio.Reader
	garbage func()
}

func (m *members) Read(p []byte) (int, error) {
	for {
		n, err := m.z.Read(p)
		if n > 0 || !errors.Is(err, io.EOF) {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return n, err
		}
		head, err := m.br.Peek(2)
		switch {
		case string(head) == gzipMagic:
		case len(head) > 0 && (err == nil || errors.Is(err, io.EOF)):
			m.garbage()
			return 0, io.EOF
		default:
			return 0, err
		}
		if err := m.z.Reset(m.br); err != nil {
			return 0, inside(err)
		}
		m.z.Multistream(false)
	}
}

// pieces hands on a stream piece by piece, each after the start of it has been looked at. Where the stream ends inside a piece
// it returns io.ErrUnexpectedEOF.
type pieces struct {
	br   *bufio.Reader
	next func() (size int64, err error) // looks at what follows and returns its size; io.EOF where a stream may end
	rest int64                          // bytes of the current piece not handed on yet
	err  error
}

func (g *pieces) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for g.rest == 0 && g.err == nil {
		g.rest, g.err = g.next()
	}
	if g.err != nil {
		return 0, g.err
	}
	n, err := g.br.Read(p[:min(int64(len(p)), g.rest)])
	g.rest -= int64(n)
	if err != nil {
		g.err = inside(err)
		if n == 0 {
			return 0, g.err
		}
	}
	return n, nil
}

// peek returns the next n bytes, which belong together: io.ErrUnexpectedEOF if the stream ends among or before them.
func (g *pieces) peek(n int) ([]byte, error) {
	b, err := g.br.Peek(n)
	return b, inside(err)
}

// inside is the error of a read where the stream may not end.
func inside(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
