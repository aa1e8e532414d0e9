package event_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/sdk/event"
)

// worked are frames worked out byte by byte from the layout of the reference protocol, and how they are made with ours.
func worked() []struct {
	name  string
	hex   string
	build func(*event.Record)
} {
	zeros := strings.Repeat("00", 64)
	return []struct {
		name  string
		hex   string
		build func(*event.Record)
	}{
		{
			"policy deny, IPv4",
			"88 00 00 00 0b 00 00 00 2a 00 00 00 00 00 00 00" +
				"15 cd 55 f5 51 72 86 18 0a 01 02 03 00 00 00 00" +
				"00 00 00 00 00 00 00 00 cb 00 71 50 00 00 00 00" +
				"00 00 00 00 00 00 00 00 c9 3a 00 17 07 00 00 00" +
				"02 00 03 00 03 06 00 02 07 00 00 00 00 00 00 00" +
				zeros + "0c 00 00 00 00 00 05 00",
			func(r *event.Record) {
				r.Reset(event.PolicyDeny)
				r.SetSeq(42)
				r.SetTime(1767225600123456789)
				r.SetFlow(event.FamilyIPv4, 6, &[16]byte{10, 1, 2, 3}, &[16]byte{203, 0, 113, 80}, 51514, 23)
				r.SetDeny(7, 0, 0)
				r.SetZones(2, 3)
				r.SetAction(event.ActionDeny)
				r.SetInterface(12)
			},
		},
		{
			"screen drop, IPv6",
			"88 00 00 00 0c 00 00 00 2b 00 00 00 00 00 00 00" +
				"00 00 00 00 00 00 00 00 20 01 0d b8 00 01 00 00" +
				"00 00 00 00 00 00 00 66 20 01 0d b8 00 02 00 00" +
				"00 00 00 00 00 00 00 35 9c 40 00 35 04 00 00 00" +
				"03 00 00 00 04 11 00 0a 00 00 00 00 00 00 00 00" +
				zeros + "0e 00 00 00 00 00 00 00",
			func(r *event.Record) {
				r.Reset(event.ScreenDrop)
				r.SetSeq(43)
				src := [16]byte{0x20, 1, 0xd, 0xb8, 0, 1, 15: 0x66}
				dst := [16]byte{0x20, 1, 0xd, 0xb8, 0, 2, 15: 0x35}
				r.SetFlow(event.FamilyIPv6, 17, &src, &dst, 40000, 53)
				r.SetScreen(event.ScreenUDPFlood)
				r.SetZones(3, 0)
				r.SetAction(event.ActionDeny)
				r.SetInterface(14)
			},
		},
		{
			"filter log, IPv4",
			"88 00 00 00 0d 00 00 00 2c 00 00 00 00 00 00 00" +
				"00 00 00 00 00 00 00 00 c6 33 64 09 00 00 00 00" +
				"00 00 00 00 00 00 00 00 c0 00 02 01 00 00 00 00" +
				"00 00 00 00 00 00 00 00 c7 38 00 16 03 00 00 00" +
				"03 00 00 00 06 06 00 02 00 00 00 00 02 00 00 00" +
				zeros + "0e 00 00 00 00 00 02 00",
			func(r *event.Record) {
				r.Reset(event.FilterLog)
				r.SetSeq(44)
				r.SetFlow(event.FamilyIPv4, 6, &[16]byte{198, 51, 100, 9}, &[16]byte{192, 0, 2, 1}, 51000, 22)
				r.SetFilter(3, 2, event.FilterInput, 0, 0)
				r.SetZones(3, 0)
				r.SetAction(event.ActionDeny)
				r.SetInterface(14)
			},
		},
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWorkedExamples(t *testing.T) {
	for _, c := range worked() {
		t.Run(c.name, func(t *testing.T) {
			want := unhex(t, c.hex)
			if len(want) != event.FrameSize {
				t.Fatalf("the example has %d bytes, want %d", len(want), event.FrameSize)
			}
			var built event.Record
			built.SetSeq(99) // Reset must not leave anything behind
			c.build(&built)
			if diff := cmp.Diff(want, built.Frame()); diff != "" {
				t.Errorf("built (-want +got):\n%s", diff)
			}
			var read event.Record
			n, err := read.Decode(want)
			if err != nil || n != len(want) {
				t.Fatalf("Decode = %d, %v", n, err)
			}
			if read != built {
				t.Error("the decoded record differs from the built one")
			}
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	good := unhex(t, worked()[0].hex)
	with := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(good)) }
	set := func(at int, v byte) []byte {
		return with(func(b []byte) []byte { b[at] = v; return b })
	}
	var session event.Record
	session.Reset(event.SessionOpen)
	session.SetFlow(event.FamilyIPv4, 6, &[16]byte{1}, &[16]byte{2}, 3, 4)
	longSession := append(bytes.Clone(session.Frame()), 0)
	longSession[0]++
	for _, c := range []struct {
		name string
		in   []byte
		want string // in the reason of a FrameError, "" for ErrShort
		size int
	}{
		{"nothing", nil, "", 0},
		{"half a header", good[:8], "", 0},
		{"header only", good[:16], "", 0},
		{"one byte missing", good[:len(good)-1], "", 0},
		{"length above the limit", with(func(b []byte) []byte { b[0], b[1] = 1, 4; return b[:16] }), "limit", 0},
		{"length that overflows", with(func(b []byte) []byte { copy(b, "\xff\xff\xff\xff"); return b }), "limit", 0},
		{"acknowledgement", unhex(t, "00 00 00 00 04 00 00 00 2c 00 00 00 00 00 00 00"), "not a record", 16},
		{"type 0", set(4, 0), "not a record", 152},
		{"type 17", set(4, 17), "not a record", 152},
		{"shorter than a record", set(0, 135), "length 135", 151},
		{"session record without its tail", set(4, 14), "length 136", 152},
		{"session record with more behind its tail", longSession, "length 145", 161},
		{"event type of another kind", set(16+52, 4), "event type 4", 152},
		{"no family", set(16+55, 0), "family 0", 152},
		{"family of the session frames", set(16+55, 4), "family 4", 152},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r event.Record
			n, err := r.Decode(c.in)
			var bad *event.FrameError
			switch {
			case c.want == "":
				if !errors.Is(err, event.ErrShort) || n != 0 {
					t.Errorf("Decode = %d, %v, want ErrShort", n, err)
				}
			case !errors.As(err, &bad) || !strings.Contains(bad.Error(), c.want) || n != c.size || bad.Size != c.size:
				t.Errorf("Decode = %d, %v, want %q and %d", n, err, c.want, c.size)
			}
		})
	}
}

// TestDecodeTolerates pins what a receiver of the reference protocol takes: reserved bytes that are set, and telemetry
// payloads longer than a record.
func TestDecodeTolerates(t *testing.T) {
	good := unhex(t, worked()[0].hex)
	var want event.Record
	if _, err := want.Decode(good); err != nil {
		t.Fatal(err)
	}
	reserved := bytes.Clone(good)
	reserved[5], reserved[6], reserved[7] = 1, 2, 3
	longer := append(bytes.Clone(good), 1, 2, 3)
	longer[0] += 3
	for name, in := range map[string][]byte{"reserved bytes": reserved, "longer payload": longer} {
		var r event.Record
		if n, err := r.Decode(in); err != nil || n != len(in) {
			t.Errorf("%s: Decode = %d, %v", name, n, err)
		}
		if r != want {
			t.Errorf("%s: another record", name)
		}
	}
}

// FuzzDecode checks that no bytes make Decode panic or claim more than there is, and that what it takes comes out again:
// the frame of a decoded record decodes to the same record.
func FuzzDecode(f *testing.F) {
	for _, c := range worked() {
		f.Add(unhex(f, c.hex))
	}
	for _, k := range event.Kinds() {
		var r event.Record
		r.Reset(k)
		if k != event.Loss {
			r.SetFlow(event.FamilyIPv6, 6, &[16]byte{1}, &[16]byte{2}, 3, 4)
		}
		f.Add(bytes.Clone(r.Frame()))
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 11})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r event.Record
		n, err := r.Decode(b)
		if n < 0 || n > len(b) {
			t.Fatalf("Decode took %d of %d bytes", n, len(b))
		}
		if err != nil {
			var bad *event.FrameError
			if !errors.Is(err, event.ErrShort) && !errors.As(err, &bad) {
				t.Fatalf("error of another type: %v", err)
			}
			return
		}
		if k, ok := event.ParseKind(r.Kind().String()); !ok || k != r.Kind() {
			t.Fatalf("kind %v", r.Kind())
		}
		frame := r.Frame()
		// All of the input but reserved bytes and what stands behind the record is kept.
		if !bytes.Equal(frame[8:], b[8:len(frame)]) {
			t.Fatal("the record is not what was in the frame")
		}
		var again event.Record
		if m, err := again.Decode(frame); err != nil || m != len(frame) || again != r {
			t.Fatalf("the record's own frame decodes to %d, %v", m, err)
		}
		// No accessor may panic, whatever the bytes.
		_, _, _, _ = r.Src(), r.Dst(), r.Screen().String(), r.Elapsed()
		_, _ = r.NATSrc()
		_, _ = r.NATDst()
		_, _, _ = r.LossReason().String(), r.LossCounts(), r.SessionID()
	})
}
