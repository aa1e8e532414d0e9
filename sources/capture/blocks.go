package capture

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// pcapng block types (draft-ietf-opsawg-pcapng section 4).
const (
	blockInterface = 1
	blockPacket    = 2 // obsolete, still written by old tools
	blockSimple    = 3
	blockEnhanced  = 6
	blockSection   = 0x0a0d0d0a
)

// Sizes of blocks without options and data, both length fields included.
const (
	sectionSize   = 28
	interfaceSize = 20
	enhancedSize  = 32 // and of the obsolete packet block
	simpleSize    = 16
)

// maxInterfaces is how many interfaces a section may describe. Each costs memory for as long as the section lasts.
const maxInterfaces = 4096

// blocks hands a pcapng to pcapgo block by block, after it has seen that the block is whole and that the lengths in it
// agree. It is needed because pcapgo believes them: a packet longer than its block makes it read on into the next, an
// option longer than its block makes its count of what is left wrap around, and a packet of 4 GiB is buffered. What
// pcapgo would collect and we have no use for is left out: name resolution, secrets and statistics, and the options of
// packets, for which it allocates.
type blocks struct {
	br         *bufio.Reader
	big        bool   // byte order of the section
	interfaces int    // of the section, so far
	snap       uint32 // snap length of the section's first interface

	rest  int   // bytes of the current block not handed on yet
	skip  int   // bytes behind them that will not be
	at    int64 // offset of the current block
	after int64 // offset of the block behind it
	err   error // why there is no further block
}

// Read implements io.Reader. It never returns bytes of two blocks at once, so that a pipe with one packet in it is not
// waited on for the next.
func (g *blocks) Read(p []byte) (int, error) {
	if g.rest == 0 {
		if g.err == nil {
			g.err = g.advance()
		}
		if g.err != nil {
			return 0, g.err
		}
	}
	n, err := g.br.Read(p[:min(len(p), g.rest)])
	g.rest -= n
	return n, err
}

// advance finds the next block worth handing on, checks it and sets rest.
func (g *blocks) advance() error {
	if err := g.discard(int64(g.skip)); err != nil {
		return err
	}
	g.skip = 0
	for {
		g.at = g.after
		head, err := g.br.Peek(12)
		if err != nil {
			if err == io.EOF && len(head) > 0 {
				return errCutOff
			}
			return err
		}
		typ := g.uint32(head)
		if typ == blockSection {
			switch magic := binary.BigEndian.Uint32(head[8:]); magic {
			case 0x1a2b3c4d:
				g.big = true
			case 0x4d3c2b1a:
				g.big = false
			default:
				return fmt.Errorf("%w: section header with byte-order magic %#x", ErrDamaged, magic)
			}
		}
		length := g.uint32(head[4:])
		if length < 12 || length%4 != 0 {
			return fmt.Errorf("%w: block of type %#x with impossible length %d", ErrDamaged, typ, length)
		}
		g.after += int64(length)
		switch typ {
		case blockSection, blockInterface, blockPacket, blockSimple, blockEnhanced:
			return g.inspect(typ, length)
		}
		if err := g.discard(int64(length)); err != nil {
			return err
		}
	}
}

// inspect checks a block that will be handed on.
func (g *blocks) inspect(typ, length uint32) error {
	if length > maxBlock {
		return fmt.Errorf("%w: block of type %#x has %d bytes, the limit is %d", ErrDamaged, typ, length, maxBlock)
	}
	b, err := g.br.Peek(int(length))
	if err != nil {
		if err == io.EOF {
			return errCutOff
		}
		return err
	}
	if end := g.uint32(b[length-4:]); end != length {
		return fmt.Errorf("%w: block of type %#x has length %d at its start and %d at its end", ErrDamaged, typ, length, end)
	}
	g.rest = int(length)
	switch typ {
	case blockSection:
		g.interfaces = 0
		// Version 1.2 is 1.0 by another name (draft-ietf-opsawg-pcapng, section 4.1), and pcapgo knows 1.0 only.
		if length >= sectionSize && g.uint32(b[12:]) == g.version(1, 2) {
			g.putUint32(b[12:], g.version(1, 0))
		}
		return g.checkOptions(b, sectionSize)
	case blockInterface:
		if g.interfaces++; g.interfaces > maxInterfaces {
			return fmt.Errorf("%w: more than %d interfaces", ErrDamaged, maxInterfaces)
		}
		if err := g.checkOptions(b, interfaceSize); err != nil {
			return err
		}
		if g.interfaces == 1 {
			g.snap = g.uint32(b[12:])
		}
		return nil
	case blockSimple:
		if length < simpleSize {
			return tooShort(typ, length)
		}
		captured := g.uint32(b[8:])
		if g.snap != 0 {
			captured = min(captured, g.snap)
		}
		_, err := packetRoom(captured, length, simpleSize)
		return err
	default:
		if length < enhancedSize {
			return tooShort(typ, length)
		}
		used, err := packetRoom(g.uint32(b[20:]), length, enhancedSize)
		if err == nil && used < length {
			// Cut the options off. The buffer is ours alone until the next Peek.
			g.putUint32(b[4:], used)
			g.putUint32(b[used-4:], used)
			g.rest, g.skip = int(used), int(length-used)
		}
		return err
	}
}

func tooShort(typ, length uint32) error {
	return fmt.Errorf("%w: block of type %#x with impossible length %d", ErrDamaged, typ, length)
}

// packetRoom returns how much of a block its fixed part and a packet of so many bytes take, and an error if that is more
// than the block has.
func packetRoom(captured, length, fixed uint32) (used uint32, err error) {
	if captured > maxRecord {
		return 0, fmt.Errorf("%w: a packet of %d bytes, the limit is %d", ErrDamaged, captured, maxRecord)
	}
	if used = fixed + (captured+3)&^3; used > length {
		return 0, fmt.Errorf("%w: a packet of %d bytes in a block of %d", ErrDamaged, captured, length)
	}
	return used, nil
}

// checkOptions checks that the options behind the fixed part of a block end where the block does.
func (g *blocks) checkOptions(b []byte, fixed int) error {
	if len(b) < fixed {
		return tooShort(g.uint32(b), uint32(len(b)))
	}
	opts := b[fixed-4 : len(b)-4]
	for len(opts) > 0 {
		// Blocks and options are multiples of four bytes: where there is one byte there are four.
		code, size := g.uint16(opts), int(g.uint16(opts[2:]))
		if code == 0 {
			return nil
		}
		size = 4 + (size+3)&^3
		if size > len(opts) {
			return fmt.Errorf("%w: option %d runs off the end of its block", ErrDamaged, code)
		}
		opts = opts[size:]
	}
	return nil
}

func (g *blocks) discard(n int64) error {
	for n > 0 {
		m, err := g.br.Discard(int(min(n, 1<<30)))
		n -= int64(m)
		if err == io.EOF {
			return errCutOff
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// version returns major and minor version as the four bytes of a section header in its byte order.
func (g *blocks) version(major, minor uint32) uint32 {
	if g.big {
		return major<<16 | minor
	}
	return minor<<16 | major
}

func (g *blocks) uint16(b []byte) uint16 {
	if g.big {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

func (g *blocks) uint32(b []byte) uint32 {
	if g.big {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

func (g *blocks) putUint32(b []byte, v uint32) {
	if g.big {
		binary.BigEndian.PutUint32(b, v)
	} else {
		binary.LittleEndian.PutUint32(b, v)
	}
}
