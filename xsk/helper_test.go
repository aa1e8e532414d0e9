package xsk

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// kernelReceives returns the next frame that reached the kernel.
func kernelReceives(w *nettest.Wire) []byte { return w.Receive(int(patience.Milliseconds())) }

// cable makes two hosts: "wire" of the sender is joined to "tap" of the other.
func cable(t testing.TB, queues int) (sender, tap *nettest.Host) {
	t.Helper()
	nettest.Require(t)
	sender, tap = nettest.NewHost(t), nettest.NewHost(t)
	nettest.Cable(sender, "wire", tap, "tap", queues)
	return sender, tap
}

// open opens an interface of a host and closes it at the end of the test.
func open(t testing.TB, h *nettest.Host, config Config) *Interface {
	t.Helper()
	i, err := tryOpen(h, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	serve(t, i)
	return i
}

// serve begins to hand frames to all sockets.
func serve(t testing.TB, i *Interface) {
	t.Helper()
	for _, s := range i.Queues() {
		if err := i.Serve(s); err != nil {
			t.Fatal(err)
		}
	}
}

func tryOpen(h *nettest.Host, config Config) (i *Interface, err error) {
	h.Do(func() { i, err = Open(context.Background(), config) })
	return i, err
}

// numbered returns a packet that carries a number; number finds it again, and returns -1 if there is none.
func numbered(n int) []byte { return numberedTo(nettest.UDP{}, n) }

func numberedTo(u nettest.UDP, n int) []byte {
	return u.Frame(binary.BigEndian.AppendUint32([]byte("number"), uint32(n)))
}

func number(packet []byte) int {
	if i := strings.Index(string(packet), "number"); i >= 0 && len(packet) >= i+10 {
		return int(binary.BigEndian.Uint32(packet[i+6:]))
	}
	return -1
}

// collect receives on all queues until it has want packets, and a little longer to see if there are more. It returns how
// often each number came.
func collect(t testing.TB, i *Interface, want int) map[int]int {
	t.Helper()
	got := make(map[int]int)
	receive(t, i, want, func(_ int, packet []byte) { got[number(packet)]++ })
	return got
}

// receive hands packets of all queues to look until it has had want of them, and then all that still come.
func receive(t testing.TB, i *Interface, want int, look func(queue int, packet []byte)) {
	t.Helper()
	waiter := NewWaiter(i.Queues()...)
	views := make([]Packet, 32)
	n := 0
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		timeout := patience
		if n >= want {
			timeout = 5 * time.Millisecond // to see one too many
		}
		before := n
		if err := waiter.Wait(timeout); err != nil {
			t.Fatalf("wait: %v", err)
		}
		for _, s := range i.Queues() {
			k := s.Receive(views)
			for _, packet := range views[:k] {
				look(s.Queue(), whole(packet))
			}
			s.Release()
			n += k
		}
		if n >= want && n == before {
			return
		}
	}
	if n < want {
		t.Fatalf("received %d packets, want %d", n, want)
	}
}

// whole returns a packet in one piece.
func whole(p Packet) []byte {
	if len(p.Rest) == 0 {
		return p.Data
	}
	return append(slices.Clone(p.Data), bytes.Join(p.Rest, nil)...)
}

// inOne returns packets of one buffer each.
func inOne(frames ...[]byte) []Packet {
	packets := make([]Packet, len(frames))
	for i, frame := range frames {
		packets[i].Data = frame
	}
	return packets
}

// waitForLink waits until the link is as a test wants it.
func waitForLink(t testing.TB, i *Interface, what string, good func(Link) bool) {
	t.Helper()
	limit := time.After(patience)
	for !good(i.Link()) {
		select {
		case <-i.Changed():
		case <-limit:
			t.Fatalf("the link is not %s: %+v", what, i.Link())
		}
	}
}

// sum adds up the statistics of all queues.
func sum(t testing.TB, i *Interface) Stats {
	t.Helper()
	var total Stats
	for _, s := range i.Queues() {
		one, err := s.Stats()
		if err != nil {
			t.Fatal(err)
		}
		total = total.Plus(one)
	}
	return total
}

func counters(t testing.TB, i *Interface) Counters {
	t.Helper()
	c, err := i.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// openDescriptors and mappings count what a leak would add to.
func openDescriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func socketMappings(t testing.TB) int {
	t.Helper()
	mappings, err := ringMappings()
	if err != nil {
		t.Fatal(err)
	}
	return len(mappings)
}
