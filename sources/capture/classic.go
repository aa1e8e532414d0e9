package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/core/packet"
)

const (
	classicRecord = 16 // bytes of a record's header
	// patchedRecord is the same with Kuznetzov's extensions (interface number, protocol, packet type), which follow the lengths.
	patchedRecord = 24
)

// Magic numbers of a pcap, in the byte order of the file.
const (
	magicMicroseconds = 0xa1b2c3d4
	magicNanoseconds  = 0xa1b23c4d
	magicPatched      = 0xa1b2cd34
)

// classic reads a pcap, of any version that libpcap reads.
type classic struct {
	br    *bufio.Reader
	order binary.ByteOrder
	unit  int64 // nanoseconds of a unit of the second half of a time stamp
	size  int   // of a record's header
	minor uint16
	used  int   // bytes of the record that was read last, not discarded yet
	at    int64 // of the record that next reads
	then  int64 // of the one behind it
	port  uint32
	link  packet.Link
}

// classicOrder returns the byte order of a pcap that starts with head, and false if it is none.
func classicOrder(head []byte) (order binary.ByteOrder, magic uint32, ok bool) {
	if len(head) < 4 {
		return nil, 0, false
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch magic := order.Uint32(head); magic {
		case magicMicroseconds, magicNanoseconds, magicPatched:
			return order, magic, true
		}
	}
	return nil, 0, false
}

func newClassic(br *bufio.Reader, head []byte, cfg *Config) (*classic, error) {
	if len(head) < classicHeader {
		return nil, fmt.Errorf("file header: %w", io.ErrUnexpectedEOF)
	}
	order, magic, _ := classicOrder(head)
	if major := order.Uint16(head[4:]); major != 2 {
		return nil, fmt.Errorf("%w: file header: version %d.%d of pcap is not known", ErrDamaged, major, order.Uint16(head[6:]))
	}
	// Of the 32 bits, 16 are the link type; the uppermost tell of the frame check sequence.
	link, err := linkOf(layers.LinkType(order.Uint32(head[20:])&0xffff), "")
	if err != nil {
		return nil, err
	}
	c := &classic{br: br, order: order, unit: 1000, size: classicRecord, minor: order.Uint16(head[6:]), used: classicHeader,
		then: classicHeader, port: cfg.port(""), link: link}
	switch magic {
	case magicNanoseconds:
		c.unit = 1
	case magicPatched:
		c.size = patchedRecord
	}
	return c, nil
}

func (c *classic) next(rec *record) error {
	if _, err := c.br.Discard(c.used); err != nil {
		return err // cannot be: the bytes are in the buffer
	}
	c.used, c.at = 0, c.then
	head, err := c.br.Peek(c.size)
	if err != nil {
		if errors.Is(err, io.EOF) && len(head) > 0 {
			return errCutOff
		}
		return err
	}
	captured, length := c.order.Uint32(head[8:]), c.order.Uint32(head[12:])
	// As libpcap does: the two had their places exchanged before version 2.3, and in 2.3 in what some tools wrote.
	if c.minor < 3 || c.minor == 3 && captured > length {
		captured, length = length, captured
	}
	// The snap length of the file header is not believed: like libpcap, take any record up to the longest that tools write.
	if captured > maxRecord {
		return fmt.Errorf("%w: a packet of %d bytes, the limit is %d", ErrDamaged, captured, maxRecord)
	}
	size := c.size + int(captured)
	b, err := c.br.Peek(size)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return errCutOff
		}
		return err
	}
	c.used = size
	c.then += int64(size)
	*rec = record{
		data: b[c.size:],
		// A packet may claim to have been shorter on the wire than what was captured of it; it was not.
		wire:  int(min(max(length, captured), math.MaxInt32)),
		stamp: int64(c.order.Uint32(b))*1e9 + int64(c.order.Uint32(b[4:]))*c.unit,
		port:  c.port,
		link:  c.link,
	}
	return nil
}

func (c *classic) offset() int64     { return c.at }
func (c *classic) otherLink() uint64 { return 0 }

// stamp returns t in Unix nanoseconds, -1 if they do not fit (a pcapng may claim any year) or t is not set.
func stamp(t time.Time) int64 {
	const secondsThatFit = math.MaxInt64 / int64(time.Second)
	if s := t.Unix(); s < 0 || s >= secondsThatFit {
		return -1
	}
	return t.UnixNano()
}
