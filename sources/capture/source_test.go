package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/packet"
)

// source is the contract of workers, written out so that this package needs none of theirs.
var _ interface {
	Receive(ctx context.Context, b *packet.Batch, timeout time.Duration) error
	Release()
} = (*Source)(nil)

// orders are both byte orders by name.
var orders = map[string]binary.AppendByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian}

func TestFormats(t *testing.T) {
	pkts := []pkt{
		{ns: 1000, data: "one"},
		{ns: 2000, data: "two, cut by the snap length", wire: 9000},
		{ns: 3_000_001_000, data: strings.Repeat("3", 1500)},
		{ns: 3_000_002_000, data: ""},
	}
	want := []frame{}
	for _, p := range pkts {
		want = append(want, frame{p.data, p.length(), p.ns, 7})
	}
	cfg := Config{Interface: "lan0", Index: func(name string) uint32 {
		if name == "lan0" {
			return 7
		}
		return 0
	}}
	captures := map[string][]byte{
		"pcapgo pcap":   written(t, false, pkts),
		"pcapgo pcapng": written(t, true, pkts),
	}
	for name, order := range orders {
		captures[name+" micro"] = pcapOf(order, false, 1, pkts...)
		captures[name+" nano"] = pcapOf(order, true, 1, pkts...)
		captures[name+" pcapng"] = ngOf(order, "lan0", pkts...)
		captures[name+" pcapng, interface unknown to the zones"] = ngOf(order, "eth9", pkts...)
		captures[name+" pcapng, nameless"] = ngOf(order, "", pkts...)
	}
	readers := map[string]func(testing.TB, []byte, Config) ([]frame, Stats, error){"file": readFile, "pipe": readPipe}
	for name, b := range captures {
		for how, read := range readers {
			files := packed(t, b)
			files["plain"] = b
			for compression, b := range files {
				t.Run(name+"/"+how+"/"+compression, func(t *testing.T) {
					got, stats, err := read(t, b, cfg)
					if !errors.Is(err, io.EOF) {
						t.Errorf("ended with %v", err)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Error(diff)
					}
					if wantStats := (Stats{Packets: 4, Bytes: 1530}); stats != wantStats {
						t.Errorf("stats %+v, want %+v", stats, wantStats)
					}
				})
			}
		}
	}
}

// TestP9SameBatches checks that a file is cut into the same batches whatever the timeout, and that the frames of a batch
// stay what they were until Release.
func TestP9SameBatches(t *testing.T) {
	const packets = 1000
	for name, b := range map[string][]byte{
		"pcap": written(t, false, many(packets, 300)), "pcapng": written(t, true, many(packets, 300)),
	} {
		s, err := Open(Config{Path: fileOf(t, b)})
		if err != nil {
			t.Fatal(err)
		}
		var batch packet.Batch
		next := 0
		for s.Receive(t.Context(), &batch, 0) == nil {
			if want := min(packet.BatchSize, packets-next); batch.N != want {
				t.Fatalf("%s: batch of %d frames, want %d", name, batch.N, want)
			}
			for _, f := range batch.Frames[:batch.N] {
				if !bytes.Equal(f.Data, bytes.Repeat([]byte{byte(next)}, 300)) {
					t.Fatalf("%s: frame %d changed", name, next)
				}
				if cap(f.Data) != len(f.Data) {
					t.Fatalf("%s: frame %d can grow into its neighbour", name, next)
				}
				next++
			}
			s.Release()
		}
		if next != packets {
			t.Errorf("%s: %d frames, want %d", name, next, packets)
		}
		if done, total := s.Progress(); done != total || total != int64(len(b)) {
			t.Errorf("%s: progress %d of %d, the file has %d", name, done, total, len(b))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLongestPackets fills the arena before the batch.
func TestLongestPackets(t *testing.T) {
	pkts := many(9, maxRecord)
	got, _, err := readFile(t, gzipped(pcapOf(binary.LittleEndian, true, 1, pkts...)), Config{})
	if !errors.Is(err, io.EOF) || len(got) != len(pkts) {
		t.Fatalf("%d packets, %v", len(got), err)
	}
	for i := range got {
		if got[i].Data != pkts[i].data {
			t.Errorf("packet %d changed", i)
		}
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	got, stats, err := readFile(t, pcapOf(binary.LittleEndian, true, 1,
		pkt{ns: 10}, pkt{ns: 5}, pkt{ns: 9}, pkt{ns: 10}, pkt{ns: 12}, pkt{ns: 11}), Config{})
	if err != io.EOF {
		t.Fatal(err)
	}
	var times []int64
	for _, f := range got {
		times = append(times, f.Time)
	}
	if diff := cmp.Diff([]int64{10, 10, 10, 10, 12, 12}, times); diff != "" {
		t.Error(diff)
	}
	if stats.OutOfOrder != 3 {
		t.Errorf("out of order: %d, want 3", stats.OutOfOrder)
	}
}

// TestNoTime: a simple packet block has no stamp, and a pcapng may claim the year 10000.
func TestNoTime(t *testing.T) {
	le := binary.LittleEndian
	b := ngOf(le, "", pkt{ns: 10, data: "a"})
	b = append(b, block(le, blockSimple, append(le.AppendUint32(nil, 5), "b1234"...))...)
	b = append(b, describe(le, 1, "", 0)...) // microseconds
	far := enhanced(le, pkt{data: "c", intf: 1})
	le.PutUint64(far[12:], 1<<62|1)
	b = append(b, far...)
	got, stats, err := readFile(t, b, Config{})
	if err != io.EOF {
		t.Fatal(err)
	}
	want := []frame{{"a", 1, 10, 0}, {"b1234", 5, 10, 0}, {"c", 1, 10, 0}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if stats.OutOfOrder != 2 {
		t.Errorf("out of order: %d, want 2", stats.OutOfOrder)
	}
}

// TestMixedInterfaces: each interface has its own name, unit of time and link type, and a new section starts afresh.
func TestMixedInterfaces(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	var b []byte
	for _, part := range [][]byte{
		section(le), describe(le, 105, "wlan0", 9), describe(le, 1, "lan0", 9), describe(le, 1, "wan0", 9),
		enhanced(le, pkt{ns: 1, data: "air", intf: 0}),
		enhanced(le, pkt{ns: 2, data: "lan", intf: 1, extra: 40}),
		block(le, 4, make([]byte, 100)), block(le, 10, make([]byte, 1<<20)), // name resolution, secrets
		enhanced(le, pkt{ns: 3, data: "wan", intf: 2}),
		block(le, 5, make([]byte, 20)), // statistics
		enhanced(le, pkt{ns: 4, data: "air", intf: 0}),
		section(be), describe(be, 1, "wan0", 9),
		enhanced(be, pkt{ns: 5, data: "second section"}),
	} {
		b = append(b, part...)
	}
	index := func(name string) uint32 { return map[string]uint32{"lan0": 1, "wan0": 2}[name] }
	got, stats, err := readFile(t, b, Config{Index: index})
	if err != io.EOF {
		t.Fatal(err)
	}
	want := []frame{{"lan", 3, 2, 1}, {"wan", 3, 3, 2}, {"second section", 14, 5, 2}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if want := (Stats{Packets: 3, Bytes: 20, OtherLinkType: 2}); stats != want {
		t.Errorf("stats %+v, want %+v", stats, want)
	}
}

func TestRefused(t *testing.T) {
	le := binary.LittleEndian
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := pcapOf(le, false, 1)
	version := bytes.Clone(good)
	version[4] = 9
	for _, tc := range []struct {
		path string
		is   error
		says string
	}{
		{filepath.Join(dir, "none"), fs.ErrNotExist, "no such file"},
		{dir, ErrDirectory, "directory"},
		{write("empty", nil), ErrEmpty, "empty"},
		{write("empty.gz", gzipped(nil)), ErrEmpty, "empty"},
		{write("text", []byte("{\"not\": 1}\n")), ErrFormat, "text"},
		{write("short", []byte{1}), ErrFormat, "starts with 01"},
		{write("binary", []byte("\x01\x02\x03\x04\x05")), ErrFormat, "starts with 01 02 03 04 05"},
		{write("bzip2", []byte("BZh9....")), ErrFormat, "bzip2"},
		{write("xz in gzip", gzipped(packed(t, good)["xz"])), ErrFormat, "xz inside gzip"},
		{write("twice", gzipped(gzipped(good))), ErrFormat, "gzip inside gzip"},
		{write("header", good[:20]), io.ErrUnexpectedEOF, "file header"},
		{write("version", version), ErrDamaged, "version"},
		{write("gz.header", gzipped(good)[:5]), io.ErrUnexpectedEOF, "gzip"},
		{write("gz.body", gzipped(good)[:15]), io.ErrUnexpectedEOF, "gzip"},
		{write("section", section(le)[:14]), io.ErrUnexpectedEOF, "cut off"},
	} {
		s, err := Open(Config{Path: tc.path})
		if err == nil {
			s.Close()
			t.Errorf("%s: opened", tc.path)
			continue
		}
		var e *Error
		if !errors.Is(err, tc.is) || !errors.As(err, &e) || !strings.Contains(err.Error(), tc.says) ||
			strings.Count(err.Error(), tc.path) != 1 {
			t.Errorf("%s: %v, want %v saying %q", tc.path, err, tc.is, tc.says)
		}
	}
	if _, err := Open(Config{Path: "-"}); err == nil {
		t.Error("opened a standard input that is not there")
	}
}

func TestLinkType(t *testing.T) {
	le := binary.LittleEndian
	_, _, err := readFile(t, pcapOf(le, false, 105, pkt{}), Config{})
	var link *LinkTypeError
	if !errors.As(err, &link) || link.Type != 105 || !strings.Contains(err.Error(), "105") {
		t.Errorf("pcap of Wi-Fi frames: %v", err)
	}
	b := append(section(le), describe(le, 105, "wlan0", 9)...)
	_, _, err = readFile(t, append(b, enhanced(le, pkt{data: "x"})...), Config{})
	if !errors.As(err, &link) || link.Type != 105 || link.Interface != "wlan0" {
		t.Errorf("pcapng of Wi-Fi frames: %v", err)
	}
}

// TestLinks reads one IP packet in each link type, from a pcap and as one of a pcapng's interfaces.
func TestLinks(t *testing.T) {
	le := binary.LittleEndian
	ip := "\x45\x00\x00\x1c\x00\x01\x00\x00\x40\x11\x00\x00\x0a\x00\x00\x01\xc0\x00\x02\x09\x03\xe8\x00\x35\x00\x08\x00\x00"
	cooked := strings.Repeat("\x00", 14) + "\x08\x00"
	heads := map[int]string{
		0: "\x02\x00\x00\x00", 1: strings.Repeat("\x00", 12) + "\x08\x00", 9: "\x00\x21", 12: "", 14: "", 50: "\xff\x03\x00\x21",
		51: "\x11\x00\x00\x01\x00\x1e\x00\x21", 101: "", 104: "\x0f\x00\x08\x00", 108: "\x00\x00\x00\x02", 113: cooked, 228: "",
		229: "", 239: "\x02\x00\x00\x01\x20\x00\x09\x00", 276: "\x08\x00" + strings.Repeat("\x00", 18),
	}
	for number := range links {
		head, ok := heads[int(number)]
		if !ok {
			t.Errorf("link type %d is not tried", number)
		}
		ng := append(section(le), describe(le, 105, "wlan0", 9)...)
		ng = append(ng, describe(le, uint16(number), "x", 9)...)
		ng = append(ng, enhanced(le, pkt{data: head + ip, intf: 1})...)
		for _, b := range [][]byte{pcapOf(le, false, uint32(number), pkt{data: head + ip}), ng} {
			path := filepath.Join(t.TempDir(), "capture")
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(Config{Path: path})
			if err != nil {
				t.Fatalf("link type %d: %v", number, err)
			}
			var batch packet.Batch
			if err := s.Receive(t.Context(), &batch, 0); err != nil || batch.N != 1 {
				t.Fatalf("link type %d: %d packets, %v", number, batch.N, err)
			}
			var h packet.Headers
			f := &batch.Frames[0]
			if cause := packet.DecodeLink(f.Link, f.Data, f.Wire, &h); cause != packet.OK || h.DstPort != 53 || int(h.L3) != len(head) {
				t.Errorf("link type %d: %v, %+v", number, cause, h)
			}
			s.Close()
		}
	}
}

// TestDamage: what comes before the damage is delivered, then an error says which packet.
func TestDamage(t *testing.T) {
	le := binary.LittleEndian
	pcap := func() []byte { return pcapOf(le, false, 1, pkt{data: "0123456789"}, pkt{data: "0123456789"}) }
	ng := func() []byte { return ngOf(le, "", pkt{data: "01234567"}, pkt{data: "01234567"}) }
	const pcap2 = 24 + 26 // where the second record of pcap starts
	ng2 := len(ng()) - 40
	put := func(b []byte, at int, v uint32) []byte { le.PutUint32(b[at:], v); return b }
	longOption := describe(le, 1, "lan0", 9)
	le.PutUint16(longOption[18:], 200)
	for name, tc := range map[string]struct {
		b      []byte
		is     error
		before int
	}{
		"pcap cut in a header":                {pcap()[:pcap2+5], io.ErrUnexpectedEOF, 1},
		"pcap cut behind a header":            {pcap()[:pcap2+16], io.ErrUnexpectedEOF, 1},
		"pcap cut in a packet":                {pcap()[:pcap2+20], io.ErrUnexpectedEOF, 1},
		"pcap, absurd length":                 {put(put(pcap(), pcap2+8, 1<<30), pcap2+12, 1<<30), ErrDamaged, 1},
		"pcapng cut in a header":              {ng()[:ng2+5], io.ErrUnexpectedEOF, 1},
		"pcapng cut in a packet":              {ng()[:ng2+30], io.ErrUnexpectedEOF, 1},
		"pcapng cut in a block to skip":       {append(ng(), block(le, 4, make([]byte, 40))[:30]...), io.ErrUnexpectedEOF, 2},
		"pcapng, length not a multiple of 4":  {put(ng(), ng2+4, 39), ErrDamaged, 1},
		"pcapng, length below the minimum":    {put(ng(), ng2+4, 8), ErrDamaged, 1},
		"pcapng, packet block below minimum":  {append(ng(), block(le, blockEnhanced, make([]byte, 8))...), ErrDamaged, 2},
		"pcapng, simple block below minimum":  {append(ng(), block(le, blockSimple, nil)...), ErrDamaged, 2},
		"pcapng, absurd block":                {put(ng(), ng2+4, 1<<30), ErrDamaged, 1},
		"pcapng, lengths differ":              {put(ng(), ng2+36, 44), ErrDamaged, 1},
		"pcapng, packet beyond its block":     {put(ng(), ng2+20, 9), ErrDamaged, 1},
		"pcapng, absurd packet":               {put(ng(), ng2+20, 1<<30), ErrDamaged, 1},
		"pcapng, simple packet beyond block":  {append(ng(), block(le, blockSimple, le.AppendUint32(nil, 4))...), ErrDamaged, 2},
		"pcapng, no such interface":           {put(ng(), ng2+8, 1), ErrDamaged, 1},
		"pcapng, byte order":                  {put(append(ng(), section(le)...), len(ng())+8, 7), ErrDamaged, 2},
		"pcapng, option beyond its block":     {append(ng(), longOption...), ErrDamaged, 2},
		"pcapng, section without interfaces":  {append(append(ng(), section(le)...), enhanced(le, pkt{})...), ErrDamaged, 2},
		"pcapng, section of unknown version":  {put(append(ng(), section(le)...), len(ng())+12, 7), ErrDamaged, 2},
		"pcapng, more interfaces than bounds": {append(ng(), bytes.Repeat(describe(le, 1, "", 0), maxInterfaces)...), ErrDamaged, 2},
	} {
		t.Run(name, func(t *testing.T) {
			for how, read := range map[string]func(testing.TB, []byte, Config) ([]frame, Stats, error){"file": readFile, "pipe": readPipe} {
				got, _, err := read(t, tc.b, Config{})
				var e *Error
				if !errors.Is(err, tc.is) || !errors.As(err, &e) {
					t.Fatalf("%s: ended with %v, want %v", how, err, tc.is)
				}
				if len(got) != tc.before || e.Packet != uint64(tc.before)+1 || e.Offset <= 0 || e.Offset > int64(len(tc.b)) {
					t.Errorf("%s: %d packets, then %v", how, len(got), err)
				}
			}
		})
	}
}

// TestPackedDamage reads what a damaged or cut off compressed capture still holds, and then says which compression it was.
func TestPackedDamage(t *testing.T) {
	for name, z := range packed(t, written(t, false, many(3, 100))) {
		got, _, err := readFile(t, z[:len(z)-1], Config{})
		want := 3
		if name == "zstd" {
			want = 0 // the last block of a frame, here the only one, comes after its checksum
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(got) != want || !strings.Contains(err.Error(), name+": ") {
			t.Errorf("%s without its end: %d packets, %v", name, len(got), err)
		}
		bad := bytes.Clone(z)
		bad[len(bad)-5] ^= 1
		if _, _, err := readFile(t, bad, Config{}); err == nil || err == io.EOF || !strings.Contains(err.Error(), name+": ") {
			t.Errorf("%s, damaged: %v", name, err)
		}
	}
}

// TestPackedParts reads a capture that was compressed in two parts.
func TestPackedParts(t *testing.T) {
	b := written(t, true, many(50, 100))
	first, second := packed(t, b[:777]), packed(t, b[777:])
	for name := range first {
		if got, _, err := readPipe(t, append(first[name], second[name]...), Config{}); err != io.EOF || len(got) != 50 {
			t.Errorf("%s: %d packets, %v", name, len(got), err)
		}
	}
}

// TestEveryCut cuts captures at every byte: the end is io.EOF exactly where a record ends.
func TestEveryCut(t *testing.T) {
	le := binary.LittleEndian
	for name, tc := range map[string]struct {
		b    []byte
		head int
		ends map[int]int // packets by length
	}{
		"pcap":   {pcapOf(le, false, 1, many(3, 10)...), 24, map[int]int{24: 0, 50: 1, 76: 2, 102: 3}},
		"pcapng": {ngOf(le, "", many(3, 8)...), 28, map[int]int{28: 0, 56: 0, 96: 1, 136: 2, 176: 3}},
	} {
		for n := tc.head; n <= len(tc.b); n++ {
			got, _, err := readFile(t, tc.b[:n], Config{})
			if packets, ok := tc.ends[n]; ok {
				if err != io.EOF || len(got) != packets {
					t.Errorf("%s, %d bytes: %d packets, %v", name, n, len(got), err)
				}
			} else if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, %d bytes: %d packets, %v", name, n, len(got), err)
			}
		}
	}
}

func TestTimeUnits(t *testing.T) {
	le := binary.LittleEndian
	for _, tc := range []struct {
		resolution uint8
		ts         uint64
		want       int64 // ns; 0 = refused
	}{
		{3, 1500, 1_500_000_000},
		{6, 1_500_001, 1_500_001_000},
		{9, 1_500_000_001, 1_500_000_001},
		{12, 1_500_000_001_000, 1_500_000_001},
		{0x80 | 2, 7, 1_750_000_000},
		{0x80 | 9, 513, 1_001_953_125},
		{0x80 | 10, 1, 0},
		{0x80 | 32, 1, 0},
		{20, 1, 0},
		{64, 1, 0},
	} {
		p := enhanced(le, pkt{data: "x"})
		le.PutUint32(p[12:], uint32(tc.ts>>32))
		le.PutUint32(p[16:], uint32(tc.ts))
		got, _, err := readFile(t, append(append(section(le), describe(le, 1, "p0", tc.resolution)...), p...), Config{})
		if tc.want == 0 {
			if err == io.EOF || len(got) != 0 {
				t.Errorf("resolution %#x: %v, %v, want it refused", tc.resolution, got, err)
			}
			continue
		}
		if err != io.EOF || len(got) != 1 || got[0].Time+epoch != tc.want {
			t.Errorf("resolution %#x: %v, %v, want %d", tc.resolution, got, err, tc.want)
		}
	}
}

// TestSlowPipe: a pipe gives what it has when the timeout is over, a full batch at once, and is left when the context is
// done.
func TestSlowPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		s, err := Open(Config{Path: "-", Stdin: r})
		if err != nil {
			t.Fatal(err)
		}
		b := written(t, true, many(100, 60))
		records := b[len(written(t, true, nil)):]
		size := len(records) / 100
		start := time.Now()
		var batch packet.Batch
		receive := func(want int, after time.Duration) {
			t.Helper()
			if err := s.Receive(t.Context(), &batch, time.Second); err != nil || batch.N != want {
				t.Fatalf("%d frames, %v, want %d", batch.N, err, want)
			}
			s.Release()
			if d := time.Since(start); d != after {
				t.Fatalf("after %v, want %v", d, after)
			}
		}
		receive(0, time.Second) // not even a file header
		w.Write(b[:len(b)-len(records)+size+size/2])
		receive(1, 2*time.Second)
		if batch.Now != epoch {
			t.Errorf("now %d", batch.Now)
		}
		receive(0, 3*time.Second) // half a record
		if batch.Now != epoch || batch.Wall != epoch {
			t.Errorf("an empty batch has the time %d, %d", batch.Now, batch.Wall)
		}
		go func() {
			w.Write(records[size+size/2:])
			w.Close()
		}()
		receive(packet.BatchSize, 3*time.Second)
		receive(99-packet.BatchSize, 3*time.Second)
		if err := s.Receive(t.Context(), &batch, time.Second); err != io.EOF {
			t.Errorf("ended with %v", err)
		}
		s.Close()

		r, w = io.Pipe()
		if s, err = Open(Config{Path: "-", Stdin: r}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		if err := s.Receive(ctx, &batch, time.Hour); err != context.Canceled {
			t.Errorf("cancelled: %v", err)
		}
		s.Close()
		w.Close() // lets the reading goroutine go, or synctest fails
	})
}

// TestCloseUnread leaves a pipe whose packets nobody wants: the reading goroutine must end although it has no room.
func TestCloseUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(Config{Path: "-", Stdin: bytes.NewReader(written(t, false, many(1000, 60)))})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.Close()
	})
}

func TestContext(t *testing.T) {
	s, err := Open(Config{Path: fileOf(t, written(t, false, many(1, 60)))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var b packet.Batch
	if err := s.Receive(ctx, &b, 0); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	if err := s.Receive(t.Context(), &b, 0); err != nil || b.N != 1 {
		t.Errorf("after a cancelled call: %d frames, %v", b.N, err)
	}
}

// TestRepositoryCaptures reads every capture that the repository has.
func TestRepositoryCaptures(t *testing.T) {
	// Captures that are there for what is wrong with them: the packets before it, and the error.
	type outcome struct {
		packets int
		err     error
	}
	odd := map[string]outcome{
		"cut.pcap": {9, io.ErrUnexpectedEOF}, "cut.pcapng": {9, io.ErrUnexpectedEOF}, "empty.pcap": {0, io.EOF},
	}
	var paths []string
	for _, pattern := range []string{"*.pcap*", "captures/*.pcap*"} {
		found, err := filepath.Glob(filepath.Join("../../testdata", pattern))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	if len(paths) == 0 {
		t.Fatal("there are no captures in testdata")
	}
	for _, path := range paths {
		var got []frame
		s, err := Open(Config{Path: path})
		if err == nil {
			got, err = drain(t, s)
			s.Close()
		}
		want, isOdd := odd[filepath.Base(path)]
		if !isOdd {
			if err != io.EOF || len(got) == 0 {
				t.Errorf("%s: %d packets, %v", path, len(got), err)
			}
			continue
		}
		is := errors.Is(err, want.err)
		if !is || len(got) != want.packets {
			t.Errorf("%s: %d packets, %v; want %d, %v", path, len(got), err, want.packets, want.err)
		}
	}
}

func TestSample(t *testing.T) {
	for _, key := range []string{"plugin = \"pcap\"", "file = ", "interface = "} {
		if !strings.Contains(sample, key) {
			t.Errorf("the sample lacks %s", key)
		}
	}
}

// TestTrailingGarbage reads all of a compressed capture behind whose end there is something else, and says so.
func TestTrailingGarbage(t *testing.T) {
	pkts := []pkt{{ns: 1, data: "a"}, {ns: 2, data: "b"}}
	b := append(gzipped(ngOf(binary.LittleEndian, "", pkts...)), "garbage"...)
	warned := 0
	got, stats, err := readFile(t, b, Config{Warn: func(string, ...any) { warned++ }})
	if err != io.EOF || len(got) != 2 || stats.TrailingGarbage != 1 || warned != 1 {
		t.Errorf("%d packets, %v; %+v; %d warnings", len(got), err, stats, warned)
	}
}
