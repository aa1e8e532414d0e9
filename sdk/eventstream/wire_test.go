package eventstream_test

import (
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

func unhex(tb testing.TB, text string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestControlFrames holds the frames without payload against bytes worked out by hand.
func TestControlFrames(t *testing.T) {
	for _, c := range []struct {
		name string
		typ  event.FrameType
		seq  event.Seq
		want string
	}{
		{"ack", eventstream.Ack, 44, "00 00 00 00 04 00 00 00 2c 00 00 00 00 00 00 00"},
		{"keepalive", eventstream.Keepalive, 0, "00 00 00 00 0a 00 00 00 00 00 00 00 00 00 00 00"},
		{"pause", eventstream.Pause, 0, "00 00 00 00 05 00 00 00 00 00 00 00 00 00 00 00"},
		{"resume", eventstream.Resume, 0, "00 00 00 00 06 00 00 00 00 00 00 00 00 00 00 00"},
		{"drain request", eventstream.DrainRequest, 44, "00 00 00 00 07 00 00 00 2c 00 00 00 00 00 00 00"},
		{"drain complete", eventstream.DrainComplete, 45, "00 00 00 00 08 00 00 00 2d 00 00 00 00 00 00 00"},
		{"full resync", eventstream.FullResync, 45, "00 00 00 00 09 00 00 00 2d 00 00 00 00 00 00 00"},
	} {
		want := unhex(t, c.want)
		if diff := cmp.Diff(want, eventstream.AppendControl(nil, c.typ, c.seq)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		f, err := eventstream.NewReader(strings.NewReader(string(want)), 0).Next()
		if err != nil || f.Type() != c.typ || f.Seq() != c.seq || len(f.Payload()) != 0 {
			t.Errorf("%s: read %x, %v", c.name, []byte(f), err)
		}
	}
}

func TestHello(t *testing.T) {
	h := eventstream.Hello{Version: 1, Epoch: 0x1122334455667788, First: 0x99}
	b := eventstream.AppendHello(nil, h)
	want := unhex(t, `18 00 00 00 11 00 00 00 00 00 00 00 00 00 00 00
		01 00 00 00 00 00 00 00 88 77 66 55 44 33 22 11 99 00 00 00 00 00 00 00`)
	if diff := cmp.Diff(want, b); diff != "" {
		t.Errorf("hello (-want +got):\n%s", diff)
	}
	got, err := eventstream.ParseHello(b)
	if err != nil || got != h {
		t.Errorf("ParseHello = %+v, %v", got, err)
	}
	longer := append(eventstream.AppendFrame(nil, eventstream.HelloFrame, 25, 0), append(b[16:len(b):len(b)], 7)...)
	if got, err := eventstream.ParseHello(longer); err != nil || got != h {
		t.Errorf("a longer hello: %+v, %v", got, err)
	}
	newer := eventstream.AppendHello(nil, eventstream.Hello{Version: 2})
	for name, bad := range map[string][]byte{
		"short": b[:39], "empty": b[:16], "newer": newer, "version 0": eventstream.AppendHello(nil, eventstream.Hello{}),
	} {
		if _, err := eventstream.ParseHello(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// session returns a session record with every field set that delta frames have room for.
func session(kind event.Kind, six bool) *event.Record {
	r := new(event.Record)
	r.Reset(kind)
	r.SetSeq(7)
	src, dst := [16]byte{10, 1, 2, 3}, [16]byte{203, 0, 113, 80}
	natSrc, natDst := [16]byte{198, 51, 100, 1}, [16]byte{192, 0, 2, 9}
	family := uint8(event.FamilyIPv4)
	if six {
		family = event.FamilyIPv6
		for _, a := range []*[16]byte{&src, &dst, &natSrc, &natDst} {
			*a = [16]byte{0x20, 1, 0xd, 0xb8, a[0], a[1], a[2], a[3], 15: 1}
		}
	}
	r.SetFlow(family, 6, &src, &dst, 51514, 443)
	r.SetZones(2, 3)
	r.SetAction(event.ActionPermit)
	if kind == event.SessionOpen {
		r.SetNAT(&natSrc, &natDst, 1024, 8443)
	}
	return r
}

// TestDelta holds the session frames against bytes worked out from the layout, and reads them back.
func TestDelta(t *testing.T) {
	zeros := func(n int) string { return strings.Repeat("00", n) }
	v6 := func(first string) string { return "20010db8" + first + zeros(7) + "01" }
	open4 := "04 06 3ac9 bb01 0004 fb20 0000 0000 0000 0000 0000 00 02 03 00 0a010203 cb007150 c6336401 c0000209" + zeros(12) + zeros(4)
	open6 := "06 06 3ac9 bb01 0004 fb20 0000 0000 0000 0000 0000 00 02 03 00" +
		v6("0a010203") + v6("cb007150") + v6("c6336401") + v6("c0000209") + zeros(12) + zeros(16)
	for _, c := range []struct {
		name string
		kind event.Kind
		six  bool
		want string
	}{
		{"open, IPv4", event.SessionOpen, false, "38000000 01 000000 0700000000000000" + open4},
		{"open, IPv6", event.SessionOpen, true, "74000000 01 000000 0700000000000000" + open6},
		{"close, IPv4", event.SessionClose, false, "13000000 02 000000 0700000000000000 04 06 3ac9 bb01 0a010203 cb007150 0000 00 02 03"},
		{"close, IPv6", event.SessionClose, true, "2b000000 02 000000 0700000000000000 06 06 3ac9 bb01" +
			v6("0a010203") + v6("cb007150") + "0000 00 02 03"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := session(c.kind, c.six)
			var got []byte
			if c.kind == event.SessionOpen {
				got = eventstream.AppendOpen(nil, eventstream.SessionOpen, 7, rec)
			} else {
				got = eventstream.AppendClose(nil, 7, rec)
			}
			if diff := cmp.Diff(unhex(t, c.want), got); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			var back event.Record
			if err := eventstream.DecodeDelta(got, &back); err != nil || back != *rec {
				t.Errorf("read back: %v\n%s", err, cmp.Diff(rec.Frame(), back.Frame()))
			}
		})
	}
	update := eventstream.AppendOpen(nil, eventstream.SessionUpdate, 0, session(event.SessionOpen, false))
	var back event.Record
	if err := eventstream.DecodeDelta(update, &back); err != nil || back.Kind() != event.SessionOpen || back.Seq() != 0 || update[4] != 3 {
		t.Errorf("update: %v, %v", back.Kind(), err)
	}
}

// TestDeltaZones checks that a zone which needs more than 8 bits becomes unknown, not another zone.
func TestDeltaZones(t *testing.T) {
	rec := session(event.SessionOpen, false)
	rec.SetZones(255, 258)
	var back event.Record
	if err := eventstream.DecodeDelta(eventstream.AppendOpen(nil, eventstream.SessionOpen, 1, rec), &back); err != nil {
		t.Fatal(err)
	}
	if back.InZone() != 255 || back.OutZone() != 0 {
		t.Errorf("zones %d and %d", back.InZone(), back.OutZone())
	}
}

// TestDeltaFromOldProducers reads close frames without the zone bytes, and refuses what has no layout.
func TestDeltaFromOldProducers(t *testing.T) {
	for _, six := range []bool{false, true} {
		full := eventstream.AppendClose(nil, 7, session(event.SessionClose, six))
		old := append(eventstream.AppendFrame(nil, eventstream.SessionClose, len(full)-16-2, 7), full[16:len(full)-2]...)
		var rec event.Record
		if err := eventstream.DecodeDelta(old, &rec); err != nil || rec.InZone() != 0 || rec.SrcPort() != 51514 {
			t.Errorf("six %v: %v", six, err)
		}
	}
	open := eventstream.AppendOpen(nil, eventstream.SessionOpen, 7, session(event.SessionOpen, false))
	family := append([]byte(nil), open...)
	family[16] = 2
	for name, bad := range map[string][]byte{
		"empty":         eventstream.AppendFrame(nil, eventstream.SessionOpen, 0, 1),
		"one byte less": append(eventstream.AppendFrame(nil, eventstream.SessionOpen, 55, 1), open[16:len(open)-1]...),
		"open without two bytes, as only a close may be": append(eventstream.AppendFrame(nil, eventstream.SessionOpen, 54, 1), open[16:len(open)-2]...),
		"family of the other layout":                     family,
	} {
		var rec event.Record
		var bad2 *event.FrameError
		if err := eventstream.DecodeDelta(bad, &rec); !errors.As(err, &bad2) || bad2.Size != len(bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// frames returns a stream of frames of every type, and each frame by itself.
func frames(n int) (stream []byte, each [][]byte) {
	add := func(b []byte) {
		stream, each = append(stream, b...), append(each, b)
	}
	add(eventstream.AppendHello(nil, eventstream.Hello{Version: 1, Epoch: 2, First: 3}))
	for i, rec := range sinktest.Records(1, n) {
		rec.SetSeq(event.Seq(i + 1))
		add(append([]byte(nil), rec.Frame()...))
		if i%5 == 0 {
			add(eventstream.AppendControl(nil, eventstream.Keepalive, 0))
		}
		if rec.Kind() == event.SessionClose {
			add(eventstream.AppendClose(nil, event.Seq(i+1), &rec))
		}
	}
	add(append(eventstream.AppendFrame(nil, 99, event.MaxPayload, 5), make([]byte, event.MaxPayload)...))
	return stream, each
}

// pieces hands out a stream in random pieces, with a timeout after some.
type pieces struct {
	b        []byte
	rng      *rand.Rand
	timeouts int
}

var errTimeout = errors.New("timeout")

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	if p.rng.IntN(4) == 0 {
		p.timeouts++
		return 0, errTimeout
	}
	n := copy(b, p.b[:min(len(p.b), 1+p.rng.IntN(300))])
	p.b = p.b[n:]
	return n, nil
}

// TestReader checks that frames come out whole in whatever pieces they go in, with timeouts in the middle of them.
func TestReader(t *testing.T) {
	stream, want := frames(300)
	for seed := range uint64(50) {
		in := &pieces{b: stream, rng: rand.New(rand.NewPCG(seed, 0))}
		r := eventstream.NewReader(in, int(seed)*100)
		for i := 0; ; {
			buffered := r.Buffered()
			before := len(in.b) + in.timeouts
			f, err := r.Next()
			if errors.Is(err, errTimeout) {
				continue
			}
			if err == io.EOF && i == len(want) {
				break
			}
			if err != nil || string(f) != string(want[i]) {
				t.Fatalf("seed %d, frame %d: %v", seed, i, err)
			}
			if buffered != (before == len(in.b)+in.timeouts) {
				t.Fatalf("seed %d, frame %d: Buffered said %v", seed, i, buffered)
			}
			i++
		}
	}
}

func TestReaderEnds(t *testing.T) {
	ack := eventstream.AppendControl(nil, eventstream.Ack, 1)
	for name, c := range map[string]struct {
		in   io.Reader
		want error
	}{
		"nothing":             {strings.NewReader(""), io.EOF},
		"half a header":       {strings.NewReader(string(ack[:9])), io.ErrUnexpectedEOF},
		"half a payload":      {strings.NewReader(string(eventstream.AppendHello(nil, eventstream.Hello{})[:20])), io.ErrUnexpectedEOF},
		"broken":              {iotest.ErrReader(errTimeout), errTimeout},
		"nothing for ever":    {readerFunc(func([]byte) (int, error) { return 0, nil }), io.ErrNoProgress},
		"a byte and an error": {iotest.DataErrReader(strings.NewReader("x")), io.ErrUnexpectedEOF},
	} {
		if _, err := eventstream.NewReader(c.in, 0).Next(); err != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	long := eventstream.AppendFrame(ack, eventstream.Pause, event.MaxPayload+1, 0)
	r := eventstream.NewReader(strings.NewReader(string(long)), 0)
	if f, err := r.Next(); err != nil || f.Type() != eventstream.Ack {
		t.Errorf("the frame before: %v", err)
	}
	var bad *event.FrameError
	for range 2 {
		if _, err := r.Next(); !errors.As(err, &bad) || bad.Type != eventstream.Pause || bad.Size != 0 {
			t.Errorf("a length that cannot be: %v", err)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// FuzzReader feeds any bytes in any pieces: frames must be the input cut at lengths, whatever the pieces, and no accessor or
// decoder may panic.
func FuzzReader(f *testing.F) {
	stream, _ := frames(10)
	f.Add(stream, uint64(1))
	f.Add(eventstream.AppendFrame(nil, eventstream.Ack, event.MaxPayload+1, 1), uint64(2))
	f.Add([]byte{1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4}, uint64(3))
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		r := eventstream.NewReader(&pieces{b: b, rng: rand.New(rand.NewPCG(seed, 0))}, 0)
		at := 0
		for {
			frame, err := r.Next()
			if errors.Is(err, errTimeout) {
				continue
			}
			if err != nil {
				var bad *event.FrameError
				if left := len(b) - at; err == io.EOF && left != 0 || err == io.ErrUnexpectedEOF && left == 0 ||
					err != io.EOF && err != io.ErrUnexpectedEOF && !errors.As(err, &bad) {
					t.Fatalf("%v with %d bytes left", err, left)
				}
				return
			}
			if len(frame) > len(b)-at || string(frame) != string(b[at:at+len(frame)]) {
				t.Fatalf("the frame at %d is not what came in", at)
			}
			at += len(frame)
			_, _ = eventstream.ParseHello(frame)
			var rec event.Record
			switch frame.Type() {
			case eventstream.SessionOpen, eventstream.SessionUpdate:
				if eventstream.DecodeDelta(frame, &rec) == nil {
					again := eventstream.AppendOpen(nil, frame.Type(), frame.Seq(), &rec)
					var back event.Record
					if err := eventstream.DecodeDelta(again, &back); err != nil || back != rec {
						t.Fatalf("does not survive another round: %v", err)
					}
				}
			case eventstream.SessionClose:
				if eventstream.DecodeDelta(frame, &rec) == nil {
					var back event.Record
					if err := eventstream.DecodeDelta(eventstream.AppendClose(nil, frame.Seq(), &rec), &back); err != nil || back != rec {
						t.Fatalf("does not survive another round: %v", err)
					}
				}
			default:
				_, _ = rec.Decode(frame)
			}
		}
	})
}
