package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// packers compress with each format, and with what changes the layout of its streams.
var packers = map[string]func(io.Writer) (io.WriteCloser, error){
	"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
	"zstd": func(w io.Writer) (io.WriteCloser, error) {
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<17))
	},
	"xz": func(w io.Writer) (io.WriteCloser, error) { return xz.WriterConfig{DictCap: 1 << 16}.NewWriter(w) },
	"xz, blocks and SHA-256": func(w io.Writer) (io.WriteCloser, error) {
		return xz.WriterConfig{DictCap: 1 << 16, BlockSize: 10_000, CheckSum: xz.SHA256}.NewWriter(w)
	},
	"xz, no check": func(w io.Writer) (io.WriteCloser, error) {
		return xz.WriterConfig{DictCap: 1 << 16, NoCheckSum: true}.NewWriter(w)
	},
	"lz4":             lz4With(lz4.BlockSizeOption(lz4.Block64Kb)),
	"lz4, all checks": lz4With(lz4.BlockSizeOption(lz4.Block64Kb), lz4.BlockChecksumOption(true), lz4.ChecksumOption(true)),
	"lz4, no checks":  lz4With(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false)),
}

func lz4With(options ...lz4.Option) func(io.Writer) (io.WriteCloser, error) {
	return func(w io.Writer) (io.WriteCloser, error) {
		z := lz4.NewWriter(w)
		return z, z.Apply(options...)
	}
}

// text is what the tests compress: some of it shrinks, some does not.
func text() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 1500)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	return append(append(bytes.Repeat([]byte("a capture "), 7_000), noise...), "end"...)
}

func pack(t testing.TB, name string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := packers[name](&out)
	if err != nil {
		t.Fatal(err)
	}
	_, err = z.Write(b)
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// unpacked reads a stream to its end, or to an error.
func unpacked(t testing.TB, r io.Reader, head []byte) ([]byte, error) {
	t.Helper()
	f := Detect(head)
	if f == nil {
		t.Fatalf("% x is of no format", head[:min(len(head), HeadSize)])
	}
	z, err := f.NewReader(r)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func TestRoundTrip(t *testing.T) {
	for name := range packers {
		t.Run(name, func(t *testing.T) {
			want := text()
			one := pack(t, name, want)
			if f := Detect(one); f == nil || !strings.HasPrefix(name, f.Name) {
				t.Fatalf("detected as %v", f)
			}
			for pieces, r := range map[string]io.Reader{
				"at once": bytes.NewReader(one), "byte by byte": iotest.OneByteReader(bytes.NewReader(one)),
			} {
				if got, err := unpacked(t, r, one); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes of %d, %v", pieces, len(got), len(want), err)
				}
			}
			if got, err := unpacked(t, bytes.NewReader(append(slices.Clip(one), one...)), one); err != nil || !bytes.Equal(got, append(want, want...)) {
				t.Errorf("two streams: %d bytes of %d, %v", len(got), 2*len(want), err)
			}
			if got, err := unpacked(t, bytes.NewReader(pack(t, name, nil)), one); err != nil || len(got) != 0 {
				t.Errorf("nothing: %d bytes, %v", len(got), err)
			}
		})
	}
}

// TestGarbage puts what is no gzip behind the end of one, or of two: it is an error, or told, as whoever reads wants. A damaged stream is an
// error nevertheless.
func TestGarbage(t *testing.T) {
	one := pack(t, "gzip", text())
	for _, c := range []struct {
		name, behind string
		told         int
		streams      int
		err          error
	}{
		{"nothing", "", 0, 1, nil}, {"a byte", "\x00", 1, 1, nil}, {"zeros", strings.Repeat("\x00", 10240), 1, 1, nil}, {"text", "\nthe end", 1, 1, nil},
		{"half of a magic number", "\x1f", 1, 1, nil}, {"another stream", string(one), 0, 2, nil}, {"another stream and text", string(one) + "x", 1, 2, nil},
		{"a stream that is cut off", string(one[:5]), 0, 1, io.ErrUnexpectedEOF}, {"half of a stream", string(one[:len(one)/2]), 0, 2, io.ErrUnexpectedEOF},
		{"a damaged header", "\x1f\x8b\xff" + string(one[3:]), 0, 1, gzip.ErrHeader},
	} {
		told := 0
		z, err := Detect(one).NewLenientReader(iotest.HalfReader(strings.NewReader(string(one)+c.behind)), func() { told++ })
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(z)
		if told != c.told || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || len(got) > c.streams*len(text()) || len(got) < len(text()) {
			t.Errorf("%s: told %d times, %v; %d bytes", c.name, told, err, len(got))
		}
		if _, err := unpacked(t, strings.NewReader(string(one)+c.behind), one); (err == nil) != (c.told == 0 && c.err == nil) {
			t.Errorf("%s, strictly: %v", c.name, err)
		}
	}
}

// TestLZ4ContentSize reads a frame that says how much it holds, and one behind it.
func TestLZ4ContentSize(t *testing.T) {
	var b bytes.Buffer
	for range 2 {
		z, err := lz4With(lz4.SizeOption(5))(&b)
		if err != nil {
			t.Fatal(err)
		}
		_, err = z.Write([]byte("12345"))
		if err = errors.Join(err, z.Close()); err != nil {
			t.Fatal(err)
		}
		b.WriteString("\x5a\x2a\x4d\x18\x03\x00\x00\x00xyz") // a skippable frame
	}
	if got, err := unpacked(t, &b, []byte(lz4Magic)); err != nil || string(got) != "1234512345" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestCutOff cuts streams in many places: what comes out is the start of what went in, and the end is told.
func TestCutOff(t *testing.T) {
	for name := range packers {
		t.Run(name, func(t *testing.T) {
			want := text()
			one := pack(t, name, want)
			two := append(slices.Clip(one), one...)
			last := 0
			for n := HeadSize; n < len(two); n += max(1, len(two)/100) {
				if n == len(one) {
					continue
				}
				got, err := unpacked(t, bytes.NewReader(two[:n]), two)
				if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(err.Error(), Detect(one).Name+": ") {
					t.Fatalf("%d bytes of %d: %v", n, len(two), err)
				}
				if !bytes.HasPrefix(append(slices.Clip(want), want...), got) || len(got) < last {
					t.Fatalf("%d bytes of %d: %d bytes, before %d", n, len(two), len(got), last)
				}
				last = len(got)
			}
			if last < len(want) {
				t.Errorf("only %d bytes came out of what was cut off", last)
			}
		})
	}
}

// TestDamaged changes a byte in the middle, and appends what is no stream.
func TestDamaged(t *testing.T) {
	for name := range packers {
		one := pack(t, name, text())
		bad := append(slices.Clip(one), "no stream follows"...)
		if _, err := unpacked(t, bytes.NewReader(bad), one); err == nil || !strings.HasPrefix(err.Error(), Detect(one).Name+": ") {
			t.Errorf("%s: with text behind it: %v", name, err)
		}
		if strings.Contains(name, "no check") {
			continue
		}
		bad = bytes.Clone(one)
		bad[len(bad)/2] ^= 0x10
		if _, err := unpacked(t, bytes.NewReader(bad), one); err == nil {
			t.Errorf("%s: damage is not seen", name)
		}
	}
}

// TestClaims refuses streams that would need more memory than they may, before it is allocated.
func TestClaims(t *testing.T) {
	dictionary := pack(t, "xz", []byte("x"))
	dictionary[12+4] = 40 // 4 GiB
	binary.LittleEndian.PutUint32(dictionary[12+8:], crc32.ChecksumIEEE(dictionary[12:12+8]))
	second := append(pack(t, "xz", []byte("x")), dictionary...)
	filters := pack(t, "xz", []byte("x"))
	filters[12+1] |= 1
	block := append([]byte(lz4Magic), 0x60, 0x40, 0x82, 0xff, 0xff, 0xff, 0x7f)
	named := append([]byte(lz4Magic), 0x61, 0x40, 0, 0, 0, 0, 0)
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"zstd window":              {append([]byte("\x28\xb5\x2f\xfd\x00"), 0x98, 1, 0, 0), "window"},
		"xz dictionary":            {dictionary, "needs a dictionary of 4095 MiB, more than 128"},
		"xz, second dictionary":    {second, "needs a dictionary of 4095 MiB, more than 128"},
		"xz filters":               {filters, "filters other than LZMA2"},
		"lz4 block":                {block, "a block of 2147483647 bytes in a frame of blocks of at most 65536"},
		"lz4, external dictionary": {named, "needs a dictionary"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := unpacked(t, bytes.NewReader(c.b), c.b)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
			t.Errorf("%s: %d bytes allocated", name, got)
		}
	}
}

// TestXZDictionaries reads many streams that claim large dictionaries for little, until it is refused, and few that do.
func TestXZDictionaries(t *testing.T) {
	claim := func(streams int, content []byte) []byte {
		b := pack(t, "xz", content)
		b[12+4] = 30 // 128 MiB
		binary.LittleEndian.PutUint32(b[12+8:], crc32.ChecksumIEEE(b[12:12+8]))
		return bytes.Repeat(b, streams)
	}
	few := claim(8, []byte("x"))
	if got, err := unpacked(t, bytes.NewReader(few), few); err != nil || len(got) != 8 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	many := claim(100_000, []byte("x"))
	got, err := unpacked(t, bytes.NewReader(many), many)
	if err == nil || !strings.Contains(err.Error(), "xz: needs dictionaries of 1152 MiB for 8 bytes") || len(got) != 8 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	full := claim(10, make([]byte, 2<<20))
	if got, err := unpacked(t, bytes.NewReader(full), full); err != nil || len(got) != 20<<20 {
		t.Errorf("streams that hold much: %d bytes, %v", len(got), err)
	}
}

// FuzzUnpack reads hostile streams: reading ends, and does not panic.
func FuzzUnpack(f *testing.F) {
	small := []byte("a capture, a capture, a capture of 0123456789")
	for name := range packers {
		b := pack(f, name, small)
		f.Add(b)
		f.Add(b[:len(b)-5])
		f.Add(append(slices.Clip(b), b...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		format := Detect(b)
		if format == nil {
			return
		}
		z, err := format.NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		buf := make([]byte, 1<<16)
		for total := 0; err == nil && total < 16<<20; { // a few bytes can become a great many
			var n int
			n, err = z.Read(buf)
			total += n
		}
		if err == nil {
			return
		}
		if _, again := z.Read(buf); again != err {
			t.Fatalf("after %v the next Read returned %v", err, again)
		}
	})
}
