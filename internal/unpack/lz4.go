package unpack

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
)

// lz4Magic begins a frame.
const lz4Magic = "\x04\x22\x4d\x18"

// Flags of a frame (lz4_Frame_format.md).
const (
	lz4Dictionary      = 1 << 0
	lz4ContentChecksum = 1 << 2
	lz4ContentSize     = 1 << 3
	lz4BlockChecksum   = 1 << 4
)

// lz4Frames checks lz4 frames and passes them on. The reader of lz4 takes a frame that ends between two blocks for a whole one.
type lz4Frames struct {
	pieces
	flags byte
	block uint32 // the largest that the frame may have
}

func newLZ4(br *bufio.Reader) *pieces {
	f := &lz4Frames{pieces: pieces{br: br}}
	f.next = f.frame
	return &f.pieces
}

// frame looks at the header of a frame.
func (f *lz4Frames) frame() (int64, error) {
	head, err := f.br.Peek(4)
	if len(head) == 0 {
		return 0, err
	}
	if len(head) < 4 {
		return 0, inside(err)
	}
	magic := binary.LittleEndian.Uint32(head)
	if magic&^0xf == 0x184d2a50 { // a skippable frame
		if head, err = f.peek(8); err != nil {
			return 0, err
		}
		return 8 + int64(binary.LittleEndian.Uint32(head[4:])), nil
	}
	if string(head) != lz4Magic {
		return 0, fmt.Errorf("neither a frame nor the end follows, but % x", head)
	}
	if head, err = f.peek(7); err != nil {
		return 0, err
	}
	f.flags = head[4]
	if f.flags&lz4Dictionary != 0 {
		return 0, errors.New("a frame that needs a dictionary cannot be read")
	}
	f.block = 1 << (2*(uint32(head[5])>>4&7) + 8) // the reader refuses codes below 4
	size := int64(7)
	if f.flags&lz4ContentSize != 0 {
		size += 8
	}
	f.next = f.data
	return size, nil
}

// data looks at the size of a block, or at the mark that ends the frame.
func (f *lz4Frames) data() (int64, error) {
	head, err := f.peek(4)
	if err != nil {
		return 0, err
	}
	size := binary.LittleEndian.Uint32(head) &^ (1 << 31)
	if size == 0 {
		f.next = f.frame
		if f.flags&lz4ContentChecksum != 0 {
			return 8, nil
		}
		return 4, nil
	}
	if size > f.block {
		return 0, fmt.Errorf("a block of %d bytes in a frame of blocks of at most %d", size, f.block)
	}
	if f.flags&lz4BlockChecksum != 0 {
		size += 4
	}
	return 4 + int64(size), nil
}
