package capture

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestVersions reads what libpcap reads of old and patched captures.
func TestVersions(t *testing.T) {
	for _, order := range orders {
		const head, first = 24, 24
		plain := func() []byte {
			return pcapOf(order, true, 1, pkt{ns: 1, data: "0123456789", wire: 60}, pkt{ns: 2, data: "b"})
		}
		put := order.(binary.ByteOrder)
		minor := func(b []byte, v uint16) []byte { put.PutUint16(b[6:], v); return b }
		exchanged := func(b []byte) []byte { // the lengths, as before version 2.3
			put.PutUint32(b[first+8:], 60)
			put.PutUint32(b[first+12:], 10)
			return b
		}
		patched := func() []byte {
			b := plain()[:head]
			put.PutUint32(b, 0xa1b2cd34)
			for i, data := range []string{"0123456789", "b"} {
				b = order.AppendUint32(b, uint32(epoch/1_000_000_000))
				b = order.AppendUint32(b, uint32(i))
				b = order.AppendUint32(b, uint32(len(data)))
				b = order.AppendUint32(b, uint32(max(len(data), 60-59*i)))
				b = append(append(b, make([]byte, 8)...), data...)
			}
			return b
		}
		link := func() []byte { b := plain(); put.PutUint32(b[20:], 0x24000001); return b } // a frame check sequence of 4 bytes
		snap := func() []byte { b := plain(); put.PutUint32(b[16:], 1); return b }
		shorter := func() []byte { b := plain(); put.PutUint32(b[first+12:], 4); return b }
		want := []frame{{"0123456789", 60, 1, 0}, {"b", 1, 2, 0}}
		for name, c := range map[string]struct {
			b    []byte
			want []frame
		}{
			"2.4": {plain(), want}, "2.5": {minor(plain(), 5), want}, "2.3": {minor(plain(), 3), want},
			"2.3 exchanged": {minor(exchanged(plain()), 3), want}, "2.1": {minor(exchanged(plain()), 1), nil},
			"patched": {patched(), []frame{{"0123456789", 60, 0, 0}, {"b", 1, 1000, 0}}}, "frame check sequence": {link(), want},
			"snap length": {snap(), want}, "captured more than there was": {shorter(), []frame{{"0123456789", 10, 1, 0}, want[1]}},
		} {
			if c.want == nil {
				c.want = want
			}
			got, _, err := readFile(t, c.b, Config{})
			if err != io.EOF {
				t.Errorf("%v, %s: %v", order, name, err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%v, %s: %s", order, name, diff)
			}
		}
	}
}

// TestNGVersions reads pcapng 1.0 and 1.2, which are the same, and no other.
func TestNGVersions(t *testing.T) {
	for _, order := range orders {
		for minor := range uint16(4) {
			b := ngOf(order, "", pkt{ns: 1, data: "a"})
			put := order.(binary.ByteOrder)
			put.PutUint16(b[14:], minor)
			got, _, err := readFile(t, b, Config{})
			if good := minor == 0 || minor == 2; good != (err == io.EOF) || good != (len(got) == 1) {
				t.Errorf("%v, version 1.%d: %d packets, %v", order, minor, len(got), err)
			}
		}
	}
}

// TestLateInterface describes an interface that is read after packets of one that is not: they are skipped. A capture without any
// packet that is read is refused at its end.
func TestLateInterface(t *testing.T) {
	le := binary.LittleEndian
	const wifi = 105
	foreign := slices.Concat(section(le), describe(le, wifi, "mon0", 9), enhanced(le, pkt{ns: 1, data: "w"}))
	got, stats, err := readFile(t, slices.Concat(foreign, describe(le, 1, "lan0", 9), enhanced(le, pkt{ns: 2, data: "a", intf: 1})), Config{})
	if err != io.EOF || len(got) != 1 || stats.OtherLinkType != 1 {
		t.Errorf("%d packets, %d skipped, %v", len(got), stats.OtherLinkType, err)
	}
	_, _, err = readFile(t, foreign, Config{})
	if link, ok := errors.AsType[*LinkTypeError](err); !ok || link.Type != wifi || link.Interface != "mon0" {
		t.Errorf("only packets that are not read: %v", err)
	}
	if _, _, err = readFile(t, foreign[:len(foreign)-len(enhanced(le, pkt{data: "w"}))], Config{}); err != io.EOF {
		t.Errorf("no packets: %v", err)
	}
}
