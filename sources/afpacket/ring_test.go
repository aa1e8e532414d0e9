package afpacket

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
)

// ringOf returns a ring of as many blocks as the data fills, which the kernel has handed over.
func ringOf(data []byte, size int) *ring {
	mem := make([]byte, (len(data)+size-1)/size*size)
	copy(mem, data)
	r := newRing(mem, size)
	for i := range r.blocks {
		binary.NativeEndian.PutUint32(mem[i*size+blockStatus:], unix.TP_STATUS_USER)
	}
	return r
}

// FuzzRing reads whatever may stand in a ring: nothing lies outside of it, and it has an end.
func FuzzRing(f *testing.F) {
	const size = 512
	block := make([]byte, size)
	binary.NativeEndian.PutUint32(block[blockCount:], 2)
	binary.NativeEndian.PutUint32(block[blockFirst:], 48)
	first := block[48:]
	binary.NativeEndian.PutUint32(first[packetNext:], 160)
	binary.NativeEndian.PutUint32(first[packetCut:], 60)
	binary.NativeEndian.PutUint32(first[packetWire:], 60)
	binary.NativeEndian.PutUint32(first[packetStatus:], unix.TP_STATUS_USER|unix.TP_STATUS_VLAN_VALID)
	binary.NativeEndian.PutUint16(first[packetMAC:], 96)
	binary.NativeEndian.PutUint16(first[packetNet:], 110)
	binary.NativeEndian.PutUint16(first[addressHardware:], unix.ARPHRD_ETHER)
	copy(first[160:], first[:100])
	f.Add(block)
	f.Add(bytes.Repeat([]byte{0xff}, 2*size))
	f.Add(append(bytes.Clone(block), block...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 || len(data) > 16*size {
			return
		}
		r := ringOf(data, size)
		taken := 0
		for r.ready() {
			r.time()
			var f packet.Frame
			if r.take(&f) {
				var h packet.Headers
				packet.DecodeLink(f.Link, f.Data, f.Wire, &h)
			}
			if taken++; taken > len(r.mem)/packetHeader {
				t.Fatalf("%d packets in %d bytes", taken, len(r.mem))
			}
		}
		r.release()
		if r.read != 0 || r.returned != 0 {
			t.Errorf("%d blocks are not given back, next is %d", r.read, r.returned)
		}
	})
}

// TestRingGivesBackWhatWasRead hands blocks over one by one.
func TestRingGivesBackWhatWasRead(t *testing.T) {
	const size = 512
	r := ringOf(make([]byte, 3*size), size)
	if r.ready() {
		t.Error("empty blocks have a packet")
	}
	if r.read != 3 {
		t.Errorf("%d of 3 empty blocks are read", r.read)
	}
	if r.ready() {
		t.Error("a block that was not given back is read again")
	}
	r.release()
	for i := range 3 {
		if got := *r.status(i); got != unix.TP_STATUS_KERNEL {
			t.Errorf("block %d has status %d", i, got)
		}
	}
}
