package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"

	"github.com/rtflow/pipelined/sdk/event"
)

const (
	positionFile = "position"
	// slotAt is the distance of the two slots: a write that is torn leaves the other slot as it was.
	slotAt   = 4096
	slotSize = 96

	slotMagic = "PIPSPPOS"
)

// position is what the sink has taken: everything in segments below number, and in that segment what is up to seq.
type position struct {
	count    uint64 // of positions written: the higher one is the newer
	number   uint64
	epoch    uint64 // of that segment
	seq      event.Seq
	released Tally  // of the segment's records
	highest  uint64 // the highest epoch that the spool has ever had
	handed   uint64 // the highest number of a segment of which the sink was ever given anything
	// reserved is the highest number of the highest epoch that the sink may have been given.
	reserved event.Seq
	slot     int64 // where it stands, 0 or 1
}

func (p *position) encode() []byte {
	b := append(make([]byte, 0, slotSize), slotMagic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, 0)
	for _, v := range []uint64{p.count, p.number, p.epoch, uint64(p.seq), p.highest, p.handed} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	for _, n := range p.released {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(p.reserved))
	binary.LittleEndian.PutUint32(b[fileSum:], slotSum(b))
	return b
}

func slotSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:fileSum], castagnoli), castagnoli, b[fileSum+4:slotSize])
}

func (p *position) decode(b []byte) bool {
	if len(b) < slotSize || string(b[:8]) != slotMagic || binary.LittleEndian.Uint32(b[8:]) != version ||
		binary.LittleEndian.Uint32(b[fileSum:]) != slotSum(b) {
		return false
	}
	at := func(i int) uint64 { return binary.LittleEndian.Uint64(b[16+8*i:]) }
	*p = position{count: at(0), number: at(1), epoch: at(2), seq: event.Seq(at(3)), highest: at(4), handed: at(5)}
	for k := range p.released {
		p.released[k] = uint64(binary.LittleEndian.Uint32(b[64+4*k:]))
	}
	p.reserved = event.Seq(at(9))
	return true
}

// readPosition returns the newer of the two positions, and whether there is one. lost says that there was one and it cannot be read.
func readPosition(d directory) (p position, ok, lost bool) {
	f, err := openToRead(d, positionFile)
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, false
	}
	if err != nil {
		return p, false, true
	}
	defer shut(f)
	empty := true
	for slot := range int64(2) {
		var b [slotSize]byte
		n, _ := readAt(f, b[:], slot*slotAt) // what cannot be read is no position
		var other position
		if other.decode(b[:n]) && (!ok || other.count > p.count) {
			p, ok = other, true
			p.slot = slot
		}
		empty = empty && [slotSize]byte(b) == [slotSize]byte{}
	}
	return p, ok, !ok && !empty
}

// positionWriter writes positions. It is used by one goroutine at a time. It does not write over a position before a later one is on
// the disk: after a crash there is one at least.
type positionWriter struct {
	d    directory
	f    file
	last position
	slot int64 // the next one is written there
}

// write writes a position, and puts it on the disk if sync is set.
func (w *positionWriter) write(p position, sync bool) error {
	if w.f == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	p.count, p.slot = w.last.count+1, w.slot
	if err := w.put(&p); err != nil {
		return err
	}
	w.last = p
	if sync {
		return w.sync()
	}
	return nil
}

// open opens the file. It puts the position that is in it already on the disk: an earlier run may have failed to do so, and of that a
// read tells nothing.
func (w *positionWriter) open() error {
	f, err := w.d.Open(positionFile, true)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = w.d.Create(positionFile); err == nil {
			_, err = f.WriteAt(make([]byte, slotAt+slotSize), 0) // a disk that is full later has room for it
		}
	}
	if f == nil {
		return err
	}
	w.f = f
	if err == nil && w.last.count > 0 {
		if err = w.put(&w.last); err == nil {
			err = w.sync()
		}
	}
	if err == nil {
		err = w.d.Sync()
	}
	if err != nil {
		w.f = nil
		return errors.Join(err, f.Close())
	}
	return nil
}

func (w *positionWriter) put(p *position) error {
	_, err := w.f.WriteAt(p.encode(), p.slot*slotAt)
	return err
}

// sync puts the position that was written last on the disk. The next one goes to the other slot.
func (w *positionWriter) sync() error {
	err := w.f.Sync()
	if err == nil {
		w.slot = 1 - w.last.slot
	}
	return err
}

// forget leaves a file that nobody finds any more. The next write makes another.
func (w *positionWriter) forget() {
	shut(w.f)
	w.f = nil
}

func (w *positionWriter) close() error {
	if w.f == nil {
		return nil
	}
	return w.f.Close()
}
