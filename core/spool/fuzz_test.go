package spool

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
)

// FuzzScanner reads arbitrary bytes as a segment: nothing in them makes the scanner fail, hang or go backwards, and what it returns as
// whole is whole.
func FuzzScanner(f *testing.F) {
	d := newDisk()
	s, err := open(d, Config{Options: Options{Size: 1 << 20}, Now: time.Now, segment: 1 << 14, remember: 64})
	if err != nil {
		f.Fatal(err)
	}
	s.epoch, s.names = 7, namesOf(7)
	s.tail = newTail(64)
	made := make([]event.Record, 40)
	for i := range made {
		made[i] = recordOf(simulated, event.Seq(i+1))
	}
	if err := s.w.append(made); err != nil {
		f.Fatal(err)
	}
	whole := d.names[s.w.seg.name()].data
	for _, cut := range []int{0, fileHeader, fileHeader + 40, fileHeader + blockHeader, len(whole) / 2, len(whole) - 1, len(whole)} {
		f.Add(whole[:cut])
	}
	for at := 0; at < len(whole); at += 97 {
		flipped := bytes.Clone(whole)
		flipped[at] ^= 0x10
		f.Add(flipped)
	}
	f.Add(append(append(bytes.Clone(whole), make([]byte, 100)...), whole[fileHeader:]...))
	f.Fuzz(func(t *testing.T, data []byte) {
		sc := newScanner(bytes.NewReader(data), 1, 7, int64(len(data)))
		var out []event.Record
		at := int64(0)
		for {
			it, err := sc.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if it.at < at {
				t.Fatalf("what is at %d comes behind %d", it.at, at)
			}
			at = it.at
			if it.damage == nil && it.kind == blockRecords {
				if out, err = it.appendDecoded(out[:0], it.payload); err == nil && len(out) != int(it.records) {
					t.Fatalf("%d records of %d", len(out), it.records)
				}
			}
		}
	})
}

// FuzzRecords decodes arbitrary payloads: what is taken encodes to the same again.
func FuzzRecords(f *testing.F) {
	var counts Tally
	f.Add(uint32(8), appendRecords(make([]byte, 0, 8*maxRecord), simulated[:8], &counts))
	f.Add(uint32(1), []byte{0, 0, 0, 14})
	f.Add(uint32(1), []byte{0xff, 0xff, 0xff, 11})
	f.Fuzz(func(t *testing.T, n uint32, payload []byte) {
		b := block{first: 1, records: n % maxBlock}
		out, err := b.appendDecoded(nil, payload)
		if err != nil {
			return
		}
		var counts Tally
		again := appendRecords(make([]byte, 0, (len(out)+1)*maxRecord), out, &counts)
		back, err := b.appendDecoded(nil, again)
		if err != nil || len(back) != len(out) {
			t.Fatalf("%d records come back as %d: %v", len(out), len(back), err)
		}
		for i := range out {
			if out[i] != back[i] {
				t.Fatalf("record %d changes", i)
			}
		}
	})
}
