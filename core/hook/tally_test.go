package hook

import (
	"slices"
	"sync"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
)

func TestTally(t *testing.T) {
	c := NewTally(2, []string{"a", "b"})
	var wg sync.WaitGroup
	for worker := range 2 {
		wg.Go(func() {
			for range 1000 {
				c.Count(&Packet{Worker: worker, Headers: packet.Headers{IPLen: 60}}, 0)
				c.Count(&Packet{Worker: worker, Headers: packet.Headers{IPLen: 1, MorePackets: 1, MoreBytes: 2}}, worker)
			}
		})
	}
	c.Counters() // while they are written, for the race detector
	wg.Wait()
	want := []Counter{{Name: "a", Packets: 4000, Bytes: 123000}, {Name: "b", Packets: 2000, Bytes: 3000}}
	if got := c.Counters(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
