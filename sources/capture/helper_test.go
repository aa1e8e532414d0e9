package capture

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	"github.com/rtflow/pipelined/core/packet"
)

// pkt is one packet of a test capture.
type pkt struct {
	ns    int64
	data  string
	wire  int // 0 = len(data)
	intf  int // of a pcapng
	extra int // bytes of options behind it, of a pcapng; a multiple of 4
}

func (p pkt) length() int { return max(p.wire, len(p.data)) }

// epoch is the time that pkt.ns counts from.
const epoch = 1_700_000_000_000_000_000

// pcapOf returns a pcap of the packets.
func pcapOf(order binary.AppendByteOrder, nano bool, link uint32, pkts ...pkt) []byte {
	magic, unit := uint32(0xa1b2c3d4), int64(1000)
	if nano {
		magic, unit = 0xa1b23c4d, 1
	}
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	b = order.AppendUint64(b, 0)
	b = order.AppendUint32(b, 65535)
	b = order.AppendUint32(b, link)
	for _, p := range pkts {
		ns := epoch + p.ns
		b = order.AppendUint32(b, uint32(ns/1e9))
		b = order.AppendUint32(b, uint32(ns%1e9/unit))
		b = order.AppendUint32(b, uint32(len(p.data)))
		b = order.AppendUint32(b, uint32(p.length()))
		b = append(b, p.data...)
	}
	return b
}

// block returns a pcapng block.
func block(order binary.AppendByteOrder, typ uint32, body []byte) []byte {
	body = append(slices.Clip(body), make([]byte, -len(body)&3)...)
	b := order.AppendUint32(nil, typ)
	b = order.AppendUint32(b, uint32(len(body)+12))
	b = append(b, body...)
	return order.AppendUint32(b, uint32(len(body)+12))
}

func option(order binary.AppendByteOrder, code uint16, value string) []byte {
	b := order.AppendUint16(nil, code)
	b = order.AppendUint16(b, uint16(len(value)))
	return append(append(b, value...), make([]byte, -len(value)&3)...)
}

// section starts a pcapng.
func section(order binary.AppendByteOrder) []byte {
	b := order.AppendUint32(nil, 0x1a2b3c4d)
	b = order.AppendUint16(b, 1)
	b = order.AppendUint16(b, 0)
	b = order.AppendUint64(b, 1<<64-1)
	return block(order, blockSection, b)
}

// describe describes an interface.
func describe(order binary.AppendByteOrder, link uint16, name string, resolution uint8) []byte {
	b := order.AppendUint16(nil, link)
	b = order.AppendUint16(b, 0)
	b = order.AppendUint32(b, 0)
	if name != "" {
		b = append(b, option(order, 2, name)...)
	}
	if resolution != 0 {
		b = append(b, option(order, 9, string([]byte{resolution}))...)
	}
	return block(order, blockInterface, b)
}

// enhanced is a packet stamped in nanoseconds.
func enhanced(order binary.AppendByteOrder, p pkt) []byte {
	ts := uint64(epoch + p.ns)
	b := order.AppendUint32(nil, uint32(p.intf))
	b = order.AppendUint32(b, uint32(ts>>32))
	b = order.AppendUint32(b, uint32(ts))
	b = order.AppendUint32(b, uint32(len(p.data)))
	b = order.AppendUint32(b, uint32(p.length()))
	b = append(append(b, p.data...), make([]byte, -len(p.data)&3)...)
	if p.extra > 0 {
		b = append(b, option(order, 1, string(make([]byte, p.extra)))...)
	}
	return block(order, blockEnhanced, b)
}

// ngOf returns a pcapng with one Ethernet interface of that name.
func ngOf(order binary.AppendByteOrder, name string, pkts ...pkt) []byte {
	b := append(section(order), describe(order, 1, name, 9)...)
	for _, p := range pkts {
		b = append(b, enhanced(order, p)...)
	}
	return b
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

// packed returns b in every compression.
func packed(t testing.TB, b []byte) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	for name, open := range map[string]func(io.Writer) (io.WriteCloser, error){
		"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		"zstd": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1)) },
		"xz":   func(w io.Writer) (io.WriteCloser, error) { return xz.WriterConfig{DictCap: 1 << 16}.NewWriter(w) },
		"lz4":  func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil },
	} {
		var out bytes.Buffer
		z, err := open(&out)
		if err == nil {
			_, err = z.Write(b)
			err = errors.Join(err, z.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		all[name] = out.Bytes()
	}
	return all
}

func fileOf(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// frame is a packet.Frame whose data is a copy.
type frame struct {
	Data string
	Wire int
	Time int64 // since epoch
	Intf uint32
}

// drain reads s to its end.
func drain(t testing.TB, s *Source) (got []frame, err error) {
	t.Helper()
	var b packet.Batch
	for {
		if err := s.Receive(context.Background(), &b, time.Hour); err != nil {
			if b.N != 0 {
				t.Errorf("Receive returned %v and %d frames", err, b.N)
			}
			if again := s.Receive(context.Background(), &b, time.Hour); again != err {
				t.Errorf("after %v the next Receive returned %v", err, again)
			}
			return got, err
		}
		if b.N > 0 && (b.Now != b.Frames[b.N-1].Time || b.Wall != b.Now) {
			t.Errorf("Now %d, Wall %d, time of the last frame %d", b.Now, b.Wall, b.Frames[b.N-1].Time)
		}
		for _, f := range b.Frames[:b.N] {
			got = append(got, frame{string(f.Data), f.Wire, f.Time - epoch, f.Interface})
		}
		s.Release()
	}
}

// readFile reads the capture from a file, readPipe from a stream.
func readFile(t testing.TB, b []byte, cfg Config) ([]frame, Stats, error) {
	t.Helper()
	cfg.Path = fileOf(t, b)
	s, err := Open(cfg)
	if err != nil {
		return nil, Stats{}, err
	}
	defer s.Close()
	got, err := drain(t, s)
	return got, s.Stats(), err
}

func readPipe(t testing.TB, b []byte, cfg Config) ([]frame, Stats, error) {
	t.Helper()
	cfg.Path, cfg.Stdin = "-", bytes.NewReader(b)
	s, err := Open(cfg)
	if err != nil {
		return nil, Stats{}, err
	}
	defer s.Close()
	got, err := drain(t, s)
	return got, s.Stats(), err
}

// many returns n packets a microsecond apart, of size bytes.
func many(n, size int) []pkt {
	pkts := make([]pkt, n)
	for i := range pkts {
		data := bytes.Repeat([]byte{byte(i)}, size)
		pkts[i] = pkt{ns: int64(i) * 1000, data: string(data)}
	}
	return pkts
}

// written returns a capture that pcapgo wrote.
func written(t testing.TB, ng bool, pkts []pkt) []byte {
	t.Helper()
	var out bytes.Buffer
	var w interface {
		WritePacket(gopacket.CaptureInfo, []byte) error
	}
	flush := func() error { return nil }
	var err error
	if ng {
		var nw *pcapgo.NgWriter
		nw, err = pcapgo.NewNgWriter(&out, layers.LinkTypeEthernet)
		w, flush = nw, nw.Flush
	} else {
		pw := pcapgo.NewWriterNanos(&out)
		err = pw.WriteFileHeader(65535, layers.LinkTypeEthernet)
		w = pw
	}
	for _, p := range pkts {
		ci := gopacket.CaptureInfo{Timestamp: time.Unix(0, epoch+p.ns), CaptureLength: len(p.data), Length: p.length()}
		err = errors.Join(err, w.WritePacket(ci, []byte(p.data)))
	}
	if err = errors.Join(err, flush()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
