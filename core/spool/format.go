package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"

	"github.com/rtflow/pipelined/sdk/event"
)

// The layout of a segment, see docs/spool-format.md. Integers are little endian.
const (
	fileMagic  = "PIPSPOOL"
	version    = 1
	fileHeader = 96
	fileSum    = 12 // where the checksum of the header is; it covers what is before and behind it

	blockMagic  = 0x314b4c42 // "BLK1"
	blockHeader = 96
	blockSum    = 4 // where the checksum of the header is; it covers what is behind it
	align       = 8
)

// Types of blocks.
const (
	blockRecords = 1 // records of one generation, their numbers without a gap
	blockNames   = 2 // frames of names of a generation
	blockSeal    = 3 // the end of a segment, with its sums
)

const (
	// maxBlock is how many records a block holds at most.
	maxBlock = 1024
	// maxPayload bounds the length that a block claims: the names of a generation are the longest.
	maxPayload = 16 << 20
	// maxRecord is the most that a record takes: its mask and its words.
	maxRecord = 4 + words*8
	// words is how many words of eight bytes the payload of the largest frame has.
	words = (event.MaxFrame - event.HeaderSize) / 8
	// recordWords is the same of the frames without a session id.
	recordWords = event.RecordSize / 8
	// typeShift is where the frame type stands in the mask of a record, above the bits of its words.
	typeShift = 24
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Tally counts records by kind.
type Tally [event.NumKinds]uint64

// Add adds what another tally has counted.
func (t *Tally) Add(o *Tally) {
	for k, n := range o {
		t[k] += n
	}
}

// sub takes o away, and what is negative then is 0: the two may come from files that disagree.
func (t *Tally) sub(o *Tally) {
	for k, n := range o {
		t[k] -= min(n, t[k])
	}
}

// Total returns the sum over all kinds.
func (t *Tally) Total() (n uint64) {
	for _, v := range t {
		n += v
	}
	return n
}

// header is what the beginning of a segment says.
type header struct {
	number uint64    // of the segment
	epoch  uint64    // of its records
	first  event.Seq // the first record that the segment stands for
	before Tally     // records of the epoch in the segments before
}

func (h *header) append(b []byte) []byte {
	at := len(b)
	b = append(b, fileMagic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, h.number)
	b = binary.LittleEndian.AppendUint64(b, h.epoch)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.first))
	for _, n := range h.before {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = binary.LittleEndian.AppendUint64(b, 0)
	binary.LittleEndian.PutUint32(b[at+fileSum:], headerSum(b[at:]))
	return b
}

func headerSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:fileSum], castagnoli), castagnoli, b[fileSum+4:fileHeader])
}

func (h *header) decode(b []byte) error {
	switch {
	case len(b) < fileHeader:
		return errors.New("the file is shorter than its header")
	case string(b[:len(fileMagic)]) != fileMagic:
		return errors.New("the file does not begin as a segment")
	case binary.LittleEndian.Uint32(b[fileSum:]) != headerSum(b):
		return errors.New("the checksum of the file's header is wrong")
	case binary.LittleEndian.Uint32(b[8:]) != version:
		return fmt.Errorf("the file has version %d, this is version %d", binary.LittleEndian.Uint32(b[8:]), version)
	}
	h.number, h.epoch = binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])
	h.first = event.Seq(binary.LittleEndian.Uint64(b[32:]))
	for k := range h.before {
		h.before[k] = binary.LittleEndian.Uint64(b[40+8*k:])
	}
	return nil
}

// salt is what the checksums of a segment's blocks begin with, so that no block passes for one of another segment.
func salt(number, epoch uint64) uint32 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], number)
	binary.LittleEndian.PutUint64(b[8:], epoch)
	return crc32.Checksum(b[:], castagnoli)
}

// block is the header of a block.
type block struct {
	length     uint32 // of the payload
	sum        uint32 // of the payload
	first      event.Seq
	time       int64 // of the first record, of a seal of the last, in Unix nanoseconds
	kind       uint32
	generation uint32
	records    uint32
	before     Tally // records of the segment in the blocks before
	own        Tally
}

// size returns the bytes of header, payload and padding.
func (h *block) size() int64 { return blockHeader + (int64(h.length)+align-1)&^(align-1) }

// last returns the number of the last record up to the end of the block.
func (h *block) last() event.Seq {
	if h.kind == blockSeal {
		return h.first
	}
	return h.first + event.Seq(h.records) - 1
}

// begin appends room for a header. The payload is appended next, and then end is called with where the header is.
func begin(b []byte) (withRoom []byte, at int) {
	var room [blockHeader]byte
	return append(b, room[:]...), len(b)
}

// end pads the payload and writes the header in front of it.
func (h *block) end(b []byte, at int, salt uint32) []byte {
	payload := b[at+blockHeader:]
	h.length, h.sum = uint32(len(payload)), checksum(payload)
	var padding [align]byte
	b = append(b, padding[:(align-len(payload)%align)%align]...)
	p := b[at : at+blockHeader]
	binary.LittleEndian.PutUint32(p, blockMagic)
	binary.LittleEndian.PutUint32(p[8:], h.length)
	binary.LittleEndian.PutUint32(p[12:], h.sum)
	binary.LittleEndian.PutUint64(p[16:], uint64(h.first))
	binary.LittleEndian.PutUint64(p[24:], uint64(h.time))
	binary.LittleEndian.PutUint32(p[32:], h.kind)
	binary.LittleEndian.PutUint32(p[36:], h.generation)
	binary.LittleEndian.PutUint32(p[40:], h.records)
	for k := range h.before {
		binary.LittleEndian.PutUint32(p[48+4*k:], uint32(h.before[k]))
		binary.LittleEndian.PutUint32(p[72+4*k:], uint32(h.own[k]))
	}
	binary.LittleEndian.PutUint32(p[blockSum:], crc32.Update(salt, castagnoli, p[8:]))
	return b
}

// decode reads a header and reports whether it is one of the segment with that salt.
func (h *block) decode(p []byte, salt uint32) bool {
	if len(p) < blockHeader || binary.LittleEndian.Uint32(p) != blockMagic {
		return false
	}
	p = p[:blockHeader]
	if binary.LittleEndian.Uint32(p[blockSum:]) != crc32.Update(salt, castagnoli, p[8:]) {
		return false
	}
	*h = block{
		length: binary.LittleEndian.Uint32(p[8:]), sum: binary.LittleEndian.Uint32(p[12:]),
		first: event.Seq(binary.LittleEndian.Uint64(p[16:])), time: int64(binary.LittleEndian.Uint64(p[24:])),
		kind: binary.LittleEndian.Uint32(p[32:]), generation: binary.LittleEndian.Uint32(p[36:]), records: binary.LittleEndian.Uint32(p[40:]),
	}
	for k := range h.before {
		h.before[k] = uint64(binary.LittleEndian.Uint32(p[48+4*k:]))
		h.own[k] = uint64(binary.LittleEndian.Uint32(p[72+4*k:]))
	}
	return h.length <= maxPayload && h.records <= maxBlock && h.kind >= blockRecords && h.kind <= blockSeal
}

// present are the words of a record that are always there: with the time, the beginnings of the addresses, the ports, the zones and the
// interface.
const present = 1<<0 | 1<<1 | 1<<3 | 1<<5 | 1<<6 | 1<<(recordWords-1)

// appendRecords appends records, and counts them. b has room for them all, maxRecord bytes each.
func appendRecords(b []byte, records []event.Record, counts *Tally) []byte {
	for i := range records {
		rec := &records[i]
		n := len(b)
		p := (*[maxRecord]byte)(b[n : n+maxRecord])
		kind := rec.Kind()
		mask, at := types[kind]|present, uint(4)
		from := (*[recordWords * 8]byte)(rec.Payload())
		some := func(w int) { // a word that is hardly ever zero: it is cheaper to have it always
			binary.LittleEndian.PutUint64(p[at:], binary.LittleEndian.Uint64(from[8*w:]))
			at += 8
		}
		word := func(w int) {
			v := binary.LittleEndian.Uint64(from[8*w:])
			binary.LittleEndian.PutUint64(p[at:], v)
			set := uint64(0)
			if v != 0 { // compiled without a branch
				set = 1
			}
			at += uint(8 * set)
			mask |= set << w
		}
		// A loop takes more than twice the time: the compiler does not unroll it.
		some(0)
		some(1)
		word(2)
		some(3)
		word(4)
		some(5)
		some(6)
		word(7)
		word(8)
		word(9)
		word(10)
		word(11)
		word(12)
		word(13)
		word(14)
		word(15)
		some(recordWords - 1)
		if kind == event.SessionOpen || kind == event.SessionClose {
			if v := rec.SessionID(); v != 0 {
				binary.LittleEndian.PutUint64(p[at:], v)
				at += 8
				mask |= 1 << recordWords
			}
		}
		binary.LittleEndian.PutUint32(p[:], uint32(mask))
		counts[kind]++
		b = b[:n+int(at)]
	}
	return b
}

// kinds has the kind of each frame type, and NumKinds for those that are no records; types has the frame type of each kind, where it stands
// in a mask.
var kinds, types = func() (of [256]event.Kind, types [event.NumKinds]uint64) {
	for i := range of {
		of[i] = event.NumKinds
	}
	for _, k := range event.Kinds() {
		var r event.Record
		r.Reset(k)
		of[r.Frame()[4]] = k
		types[k] = uint64(r.Frame()[4]) << typeShift
	}
	return of, types
}()

var errRecord = errors.New("a record is malformed")

// appendDecoded decodes the records of a block behind those of out.
func (h *block) appendDecoded(out []event.Record, payload []byte) ([]event.Record, error) {
	for i := range h.records {
		if len(payload) < 4 {
			return out, errRecord
		}
		mask := binary.LittleEndian.Uint32(payload)
		payload = payload[4:]
		kind := kinds[mask>>typeShift]
		if kind == event.NumKinds || mask&(1<<typeShift-1)>>words != 0 {
			return out, errRecord
		}
		out = append(out, event.Record{})
		rec := &out[len(out)-1]
		rec.Reset(kind)
		to := rec.Frame()[event.HeaderSize:]
		set := mask & (1<<words - 1)
		if 8*bits.Len32(set) > len(to) || 8*bits.OnesCount32(set) > len(payload) {
			return out, errRecord
		}
		typ := to[typeAt]
		clear(to)
		for ; set != 0; set &= set - 1 {
			binary.LittleEndian.PutUint64(to[8*bits.TrailingZeros32(set):], binary.LittleEndian.Uint64(payload))
			payload = payload[8:]
		}
		if to[typeAt] != typ {
			return out, errRecord
		}
		rec.SetSeq(h.first + event.Seq(i))
		rec.Generation = h.generation
	}
	if len(payload) > 0 {
		return out, errRecord
	}
	return out, nil
}

// typeAt is where the payload of a frame says what event it is, which its kind says already.
const typeAt = 52

func checksum(payload []byte) uint32 { return crc32.Checksum(payload, castagnoli) }
