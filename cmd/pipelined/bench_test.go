package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"
)

// BenchmarkRead reads a capture of 500,000 packets, the shipped one over and over in later and later time, into a file,
// and reports wall and CPU time per packet. All screens, filters and policies of the shipped pipeline are on.
func BenchmarkRead(b *testing.B) {
	const packets = 500_000
	path := filepath.Join(b.TempDir(), "large.pcap")
	repeat(b, path, packets)
	out, err := os.Create(filepath.Join(b.TempDir(), "events.log"))
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	before := cpuTime(b)
	n := 0
	for b.Loop() {
		if err := errors.Join(out.Truncate(0), seekStart(out)); err != nil {
			b.Fatal(err)
		}
		root := newRoot()
		root.SetOut(out)
		root.SetArgs([]string{"read", path})
		if err := root.ExecuteContext(context.Background()); err != nil {
			b.Fatal(err)
		}
		n += packets
	}
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(n), "cpu-ns/pkt")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/pkt")
}

func seekStart(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// repeat writes a pcap of n packets.
func repeat(b *testing.B, path string, n int) {
	b.Helper()
	packed, err := os.ReadFile(edge)
	if err != nil {
		b.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(gunzipped(b, packed)), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		b.Fatal(err)
	}
	type packet struct {
		at   time.Time
		data []byte
	}
	var packets []packet
	for {
		data, info, err := r.ReadPacketData()
		if err != nil {
			break
		}
		packets = append(packets, packet{info.Timestamp, data})
	}
	head := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d) // nanoseconds
	head = binary.LittleEndian.AppendUint32(head, 2|4<<16)
	head = append(head, make([]byte, 8)...)
	head = binary.LittleEndian.AppendUint32(head, 1<<16)
	file := binary.LittleEndian.AppendUint32(head, 1) // Ethernet
	for i := range n {
		p := &packets[i%len(packets)]
		at := p.at.Add(time.Duration(i/len(packets)) * 45 * time.Second)
		file = binary.LittleEndian.AppendUint32(file, uint32(at.Unix()))
		file = binary.LittleEndian.AppendUint32(file, uint32(at.Nanosecond()))
		file = binary.LittleEndian.AppendUint32(file, uint32(len(p.data)))
		file = binary.LittleEndian.AppendUint32(file, uint32(len(p.data)))
		file = append(file, p.data...)
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		b.Fatal(err)
	}
}
