package nfnetlink

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// example is two messages, the first with attributes of every kind.
func example() []byte {
	b, start := AppendMessage(nil, Message{Type: 0x0102, Flags: unix.NLM_F_REQUEST, Seq: 7, Port: 9, Family: unix.AF_INET6, ResID: 0x1234})
	b = AppendUint8(b, 1, 0xab)
	b, nested := BeginNested(b, 2)
	b = AppendUint16(b, 3, 0xabcd)
	b = AppendUint32(b, 4, 0xabcdef01)
	b = EndNested(b, nested)
	b = AppendAttr(b, 5|unix.NLA_F_NET_BYTEORDER, []byte("five!"))
	b = EndMessage(b, start)
	b, start = AppendMessage(b, Message{Type: 0x0101})
	return EndMessage(b, start)
}

func TestMessages(t *testing.T) {
	m, rest, ok := NextMessage(example())
	attrs := m.Attrs
	m.Attrs = nil
	want := Message{Type: 0x0102, Flags: unix.NLM_F_REQUEST, Seq: 7, Port: 9, Family: unix.AF_INET6, ResID: 0x1234}
	if diff := cmp.Diff(want, m); !ok || diff != "" {
		t.Errorf("first message (-want +got):\n%s", diff)
	}
	type attr struct {
		Type  uint16
		Value string
	}
	var got []attr
	for typ, value, rest, ok := NextAttr(attrs); ok; typ, value, rest, ok = NextAttr(rest) {
		if typ == 2 {
			for typ, value, rest, ok := NextAttr(value); ok; typ, value, rest, ok = NextAttr(rest) {
				got = append(got, attr{typ, string(value)})
			}
			continue
		}
		got = append(got, attr{typ, string(value)})
	}
	if diff := cmp.Diff([]attr{{1, "\xab"}, {3, "\xab\xcd"}, {4, "\xab\xcd\xef\x01"}, {5, "five!"}}, got); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if m, rest, ok = NextMessage(rest); !ok || m.Type != 0x0101 || len(m.Attrs) != 0 || len(rest) != 0 {
		t.Errorf("second message: %+v, %x, %v", m, rest, ok)
	}
	if _, _, ok = NextMessage(rest); ok {
		t.Error("a third message")
	}
}

func TestErrno(t *testing.T) {
	refused := []byte{20, 0, 0, 0, unix.NLMSG_ERROR, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff}
	if m, _, ok := NextMessage(refused); !ok || !errors.Is(m.Errno(), unix.ENOENT) || m.Seq != 7 {
		t.Errorf("%+v, %v, %v", m, m.Errno(), ok)
	}
	if m, _, ok := NextMessage(append([]byte{16}, refused[1:16]...)); !ok || m.Errno() != 0 {
		t.Errorf("without a number: %+v, %v, %v", m, m.Errno(), ok)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(example())
	for cut := range 24 { // every cut of the first headers
		f.Add(example()[:cut])
	}
	for _, at := range []int{0, 1, 2, 3, 20, 21, 28, 29, 32, 33} { // lengths
		for _, value := range []byte{0, 1, 4, 0x7f, 0xff} {
			b := bytes.Clone(example())
			b[at] = value
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		messages, attrs := 0, 0
		for m, rest, ok := NextMessage(b); ok; m, rest, ok = NextMessage(rest) {
			messages++
			_ = m.Errno()
			for _, value, rest, ok := NextAttr(m.Attrs); ok; _, value, rest, ok = NextAttr(rest) {
				attrs++
				_ = append(value, 0) // does not write into b: the capacity ends with the value
			}
		}
		if messages > len(b)/unix.NLMSG_HDRLEN || attrs > len(b)/unix.NLA_HDRLEN {
			t.Errorf("%d messages and %d attributes in %d bytes", messages, attrs, len(b))
		}
	})
}
