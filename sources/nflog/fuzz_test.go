package nflog

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/nfnetlink"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// FuzzRead reads hostile datagrams. Whatever they hold, reading ends, every event is whole, and what was read is counted.
func FuzzRead(f *testing.F) {
	whole := build(nil, unix.AF_INET, 5, header(etherIPv4, 2), stamp(1700000000, 5), number(attrIn, 3), number(attrOut, 4), prefix("DROP:x "),
		number(attrSequence, 0), payload(udp()))
	f.Add(whole)
	f.Add(append(bytes.Clone(whole), build(nil, unix.AF_INET6, 6, prefix("[UFW BLOCK] "), number(attrSequence, 1<<31), payload(udp()))...))
	f.Add(build(nil, familyBridge, 5, header(typeVLAN, 2), payload(nettest.UDP{VLANs: []uint16{7, 8}}.Frame(nil)[etherHeader:])))
	f.Add(build(nil, familyNetdev, 5, header(etherIPv4, hookEgress), payload(nettest.UDP{}.Frame(nil))))
	f.Add(build(nil, 3, 5, header(etherARP, 0), payload(make([]byte, 28))))
	f.Add(build(nil, unix.AF_INET, 5, prefix("a"), prefix("b")))
	for _, cut := range []int{0, 3, 15, 16, 19, 20, 23, 24, 40, len(whole) - 1} {
		f.Add(whole[:cut])
	}
	for _, at := range []int{0, 1, 4, 16, 18, 20, 22, 28, 30} { // lengths and types
		b := bytes.Clone(whole)
		b[at] ^= 0xff
		f.Add(b)
	}
	c := config(f, `{"groups": [5, 6]}`)
	f.Fuzz(func(t *testing.T, datagram []byte) {
		s := &Source{socket: new(nfnetlink.Socket)}
		socket := new(script)
		s.init(socket, &c, 100)
		socket.add(datagram, whole, datagram)
		var b source.EventBatch
		told := uint64(0)
		for range 1 + 2*len(datagram) {
			again, err := s.Read(&b, 0, 200)
			if err != nil {
				t.Fatal(err)
			}
			for i := range b.N {
				switch e := &b.Events[i]; e.What {
				case source.Lost:
					if e.Lost.Total() == 0 || e.Created > e.Time {
						t.Errorf("%+v", e)
					}
				default:
					told++
					if e.Rule == nil || e.Rule.Name == "" || e.Flow.Family == 0 || e.Time <= 0 {
						t.Errorf("%+v", e)
					}
				}
			}
			if again < 0 {
				break
			}
		}
		if n := counter(s, "denied") + counter(s, "rejected") + counter(s, "accepted") + counter(s, "logged"); n != told {
			t.Errorf("told of %d packets, counted %d", told, n)
		}
		balanced(t, s)
	})
}
