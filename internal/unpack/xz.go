package unpack

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ulikunitz/xz/lzma"
)

// The dictionaries of all blocks together, each of which is allocated and cleared anew, may be larger than what was
// unpacked by a factor, and by what many small streams of xz -9 need. So the time for a stream stays in proportion to what
// it holds.
const (
	maxXZDictionaries = 1 << 30
	maxXZFactor       = 64
)

// maxXZBlocks is how many blocks a stream may have. The reader of xz keeps a few words of each.
const maxXZBlocks = 1 << 20

// xzStreams checks xz streams (xz-file-format.txt) and passes them on. The reader of xz allocates the dictionaries that
// they claim to need.
type xzStreams struct {
	pieces
	check  int64 // bytes of the check behind a block
	size   int64 // bytes of the compressed data of the block, or of the index, so far
	blocks int
	fields uint64 // numbers of the index that are to come

	dictionaries int64 // bytes that blocks have claimed
	unpacked     int64 // bytes that chunks hold
}

func newXZ(br *bufio.Reader) *pieces {
	x := &xzStreams{pieces: pieces{br: br}}
	x.next = x.stream
	return &x.pieces
}

// stream looks at the header of a stream, or the padding in front of it.
func (x *xzStreams) stream() (int64, error) {
	head, err := x.br.Peek(12)
	switch {
	case len(head) == 0:
		return 0, err
	case len(head) >= 4 && bytes.Equal(head[:4], make([]byte, 4)):
		return 4, nil
	case len(head) < 12:
		return 0, inside(err)
	}
	sizes := [...]int64{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}
	x.check, x.blocks, x.next = sizes[head[7]&0xf], 0, x.block
	return 12, nil
}

// block looks at the header of a block, or at the mark of the index.
func (x *xzStreams) block() (int64, error) {
	head, err := x.peek(1)
	if err != nil {
		return 0, err
	}
	x.size = 0
	if head[0] == 0 {
		x.size, x.next = 1, x.count
		return 1, nil
	}
	if x.blocks++; x.blocks > maxXZBlocks {
		return 0, fmt.Errorf("more than %d blocks in a stream", maxXZBlocks)
	}
	size := 4 * (int(head[0]) + 1)
	if head, err = x.peek(size); err != nil {
		return 0, err
	}
	dict, err := checkXZFilters(head[1 : size-4])
	if err != nil {
		return 0, err
	}
	if x.dictionaries += dict; x.dictionaries-maxXZDictionaries > maxXZFactor*x.unpacked {
		return 0, fmt.Errorf("needs dictionaries of %d MiB for %d bytes", x.dictionaries>>20, x.unpacked)
	}
	x.next = x.chunk
	return int64(size), nil
}

// checkXZFilters checks that there is one filter, LZMA2, with a dictionary that may be allocated, and returns its size. b is the
// header of a block from its flags on.
func checkXZFilters(b []byte) (dict int64, err error) {
	flags, b := b[0], b[1:]
	if flags&3 != 0 {
		return 0, errors.New("filters other than LZMA2 are not supported")
	}
	for _, present := range []byte{0x40, 0x80} { // compressed and uncompressed size
		if flags&present == 0 {
			continue
		}
		_, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, errors.New("damaged header of a block")
		}
		b = b[n:]
	}
	const lzma2, propertySize = 0x21, 1
	if len(b) < 3 || b[0] != lzma2 || b[1] != propertySize {
		return 0, errors.New("filters other than LZMA2 are not supported")
	}
	dict, err = lzma.DecodeDictCap(b[2])
	if err != nil {
		return 0, err
	}
	if dict > MaxWindow {
		return 0, fmt.Errorf("needs a dictionary of %d MiB, more than %d", dict>>20, MaxWindow>>20)
	}
	return dict, nil
}

// chunk looks at the header of an LZMA2 chunk, or at the mark that ends them.
func (x *xzStreams) chunk() (size int64, err error) {
	head, err := x.peek(1)
	if err != nil {
		return 0, err
	}
	switch control := head[0]; {
	case control == 0:
		x.size++
		x.next = x.block
		return 1 + -x.size&3 + x.check, nil
	case control <= 2:
		if head, err = x.peek(3); err != nil {
			return 0, err
		}
		size = 3 + int64(binary.BigEndian.Uint16(head[1:])) + 1
		x.unpacked += size - 3
	case control >= 0x80:
		if head, err = x.peek(5); err != nil {
			return 0, err
		}
		size = 5 + int64(binary.BigEndian.Uint16(head[3:])) + 1
		if control >= 0xc0 {
			size++ // properties
		}
		x.unpacked += int64(control&0x1f)<<16 + int64(binary.BigEndian.Uint16(head[1:])) + 1
	default:
		return 0, fmt.Errorf("there is no chunk of type %#x", control)
	}
	x.size += size
	return size, nil
}

// count looks at the number of records in the index.
func (x *xzStreams) count() (int64, error) {
	n, size, err := x.number()
	if err != nil {
		return 0, err
	}
	if n != uint64(x.blocks) {
		return 0, fmt.Errorf("the index has %d blocks, the stream %d", n, x.blocks)
	}
	x.fields, x.next = 2*n, x.index
	return size, nil
}

// index looks at a number in the index, or at what follows the last: padding, a checksum and the footer of the stream.
func (x *xzStreams) index() (int64, error) {
	if x.fields == 0 {
		x.next = x.stream
		return -x.size&3 + 4 + 12, nil
	}
	x.fields--
	_, size, err := x.number()
	return size, err
}

// number looks at a number of variable length.
func (x *xzStreams) number() (value uint64, size int64, err error) {
	for n := 1; n <= 9; n++ {
		b, err := x.peek(n)
		if err != nil {
			return 0, 0, err
		}
		if b[n-1] < 0x80 {
			value, _ = binary.Uvarint(b)
			x.size += int64(n)
			return value, int64(n), nil
		}
	}
	return 0, 0, errors.New("damaged index")
}
