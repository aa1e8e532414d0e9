package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/rtflow/pipelined/internal/unpack"
)

// FuzzCapture reads hostile captures. Whatever they hold, reading ends, says why, and needs no more memory than the file
// deserves; every frame is one that could be in it.
func FuzzCapture(f *testing.F) {
	pkts := []pkt{{ns: 1, data: "0123456789"}, {ns: 2, data: "cut", wire: 100}, {ns: 1, data: "x", extra: 8}}
	for _, order := range orders {
		f.Add(pcapOf(order, true, 1, pkts...))
		f.Add(pcapOf(order, false, 113, pkts...))
		ng := ngOf(order, "lan0", pkts...)
		f.Add(ng)
		f.Add(append(ng, block(order, blockSimple, order.AppendUint32(nil, 0))...))
		f.Add(append(ng, describe(order, 101, "tun0", 0x8a)...))
		f.Add(append(ng, section(order)...))
	}
	for _, b := range packed(f, ngOf(binary.LittleEndian, "", pkts...)) {
		f.Add(b)
	}
	f.Add([]byte("#!/bin/sh\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := newInput(&readOnce{b: b}, &Config{Interface: "lan0", Index: func(string) uint32 { return 1 }}, new(counters))
		in.wait = len(b)%2 == 0
		var rec record
		err := in.open()
		captured := 0
		for err == nil && captured < 64<<20 { // a few compressed bytes may hold a great many
			before := in.last
			if err = in.next(&rec); err != nil {
				break
			}
			captured += len(rec.data)
			if len(rec.data) > maxRecord || rec.wire < len(rec.data) || in.last < before {
				t.Fatalf("record of %d bytes, %d on the wire, time %d after %d", len(rec.data), rec.wire, in.last, before)
			}
		}
		if err == nil {
			return
		}
		var e *Error
		if !errors.Is(err, io.EOF) && !errors.As(err, &e) {
			t.Fatalf("ended with %v", err)
		}
		if e != nil && e.Packet != 0 && (e.Offset < 0 || e.Offset > int64(len(b)) && unpack.Detect(b) == nil) {
			t.Fatalf("%v, but the capture has %d bytes", err, len(b))
		}
		if captured > len(b) && unpack.Detect(b) == nil {
			t.Fatalf("%d bytes of frames out of %d", captured, len(b))
		}
	})
}

// readOnce gives its bytes in small pieces, as a pipe may.
type readOnce struct{ b []byte }

func (r *readOnce) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b[:min(len(r.b), 1000)])
	r.b = r.b[n:]
	return n, nil
}

// TestBoundedMemory: what a capture claims costs nothing; only what it holds does.
func TestBoundedMemory(t *testing.T) {
	le := binary.LittleEndian
	pcap := pcapOf(le, false, 1, pkt{})
	le.PutUint32(pcap[16:], 1<<32-1) // snap length
	le.PutUint32(pcap[32:], 1<<31)
	le.PutUint32(pcap[36:], 1<<31)
	ng := ngOf(le, "", pkt{})
	le.PutUint32(ng[len(ng)-28:], 1<<32-4) // length of the block
	for name, b := range map[string][]byte{"pcap": pcap, "pcapng": ng} {
		source := io.MultiReader(bytes.NewReader(b), io.LimitReader(zeros{}, 64<<20))
		in := newInput(source, &Config{}, new(counters))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := in.open()
		var rec record
		for err == nil {
			err = in.next(&rec)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 4<<20 || errors.Is(err, io.EOF) {
			t.Errorf("%s: %d bytes allocated, then %v", name, got, err)
		}
	}
}

// zeros is an endless file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
