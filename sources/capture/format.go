package capture

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/unpack"
)

const (
	// maxRecord is the most bytes that one packet may have been captured with. It is libpcap's MAXIMUM_SNAPLEN: no capture
	// tool writes more.
	maxRecord = 256 << 10
	// maxBlock is the largest pcapng block that is looked at: a packet and 128 KiB of options.
	maxBlock = maxRecord + 128<<10
	// bufferSize is how much is read at once; a whole pcapng block must fit.
	bufferSize = 512 << 10

	classicHeader = 24 // bytes, "pcap file header"
)

// record is one packet of a capture. data is valid until the next call of next.
type record struct {
	data  []byte
	wire  int
	stamp int64  // Unix time in nanoseconds; -1 if the capture has none, or one that cannot be told in 64 bits
	port  uint32 // what Config.Index said of the interface
	link  packet.Link
}

// records reads the packets of one capture. next returns io.EOF at an end where an end may be.
type records interface {
	next(*record) error
	// offset is where the record starts that next returned or failed at, in bytes of the decompressed capture.
	offset() int64
	// otherLink counts frames skipped because their link type is not read.
	otherLink() uint64
}

// openRecords finds out what r holds and returns its reader. garbage is called if there is something else behind the end of a compressed one.
func openRecords(r io.Reader, cfg *Config, garbage func()) (records, error) {
	br := bufio.NewReaderSize(r, bufferSize)
	head, err := peek(br, classicHeader)
	if err != nil {
		return nil, err
	}
	compressed := unpack.Detect(head)
	if compressed != nil {
		z, err := compressed.NewLenientReader(br, garbage)
		if err != nil {
			return nil, err
		}
		br = bufio.NewReaderSize(z, bufferSize)
		if head, err = peek(br, classicHeader); err != nil {
			return nil, err
		}
	}
	if _, _, ok := classicOrder(head); ok {
		return newClassic(br, head, cfg)
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x0a, 0x0d, 0x0d, 0x0a}):
		return newNG(br, cfg)
	case len(head) == 0:
		return nil, ErrEmpty
	case compressed != nil && unpack.Detect(head) != nil:
		return nil, fmt.Errorf("%w: it is %s inside %s", ErrFormat, unpack.Detect(head).Name, compressed.Name)
	default:
		return nil, fmt.Errorf("%w: %s", ErrFormat, looksLike(head))
	}
}

// peek returns the first n bytes, or fewer if there are no more.
func peek(br *bufio.Reader, n int) ([]byte, error) {
	head, err := br.Peek(n)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return head, nil
}

// lookalikes are the starts of files that people take for captures.
var lookalikes = []struct{ magic, name string }{
	{"BZh", "bzip2 compressed data"},
	{"PK\x03\x04", "a zip archive"},
	{"snoop\x00\x00\x00", "a snoop capture"},
	{"\x7fELF", "an ELF program"},
}

// looksLike describes the start of a file.
func looksLike(head []byte) string {
	for _, l := range lookalikes {
		if strings.HasPrefix(string(head), l.magic) {
			return fmt.Sprintf("it looks like %s (starts with % x)", l.name, head[:len(l.magic)])
		}
	}
	head = head[:min(len(head), 16)]
	if text := strings.TrimRight(string(head), "\r\n\t "); text != "" && strings.IndexFunc(text, notPrintable) < 0 {
		return fmt.Sprintf("it looks like text (starts with %q)", text)
	}
	return fmt.Sprintf("it starts with % x", head)
}

func notPrintable(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r > '~' }
