package packet

import (
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// guarded is memory that ends where the next byte cannot be read.
type guarded []byte

func newGuarded(t testing.TB) guarded {
	page := unix.Getpagesize()
	mem, err := unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(mem); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mprotect(mem[page:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	return mem[:page:page]
}

// end returns frame at the end of the memory.
func (g guarded) end(frame []byte) []byte {
	at := g[len(g)-len(frame):]
	copy(at, frame)
	return at
}

// TestNeverReadsPast decodes every prefix of every frame, and frames with random bytes changed, right before memory that
// may not be read.
func TestNeverReadsPast(t *testing.T) {
	g := newGuarded(t)
	var h Headers
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, tc := range decodeCases() {
		for n := range len(tc.frame) + 1 {
			frame := g.end(tc.frame[:n])
			for _, wire := range []int{n, len(tc.frame), 1 << 17} {
				DecodeLink(tc.link, frame, wire, &h)
			}
		}
		for range 200 {
			frame := g.end(tc.frame)
			if len(frame) == 0 {
				continue
			}
			for range 1 + rnd.IntN(3) {
				frame[rnd.IntN(len(frame))] = byte(rnd.Uint32())
			}
			checkInvariants(t, tc.link, frame, len(frame))
			checkInvariants(t, tc.link, frame, len(frame)+rnd.IntN(2000))
		}
	}
}
