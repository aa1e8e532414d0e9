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
				c.CountLater(&Packet{Worker: worker, Headers: packet.Headers{IPLen: 1, MorePackets: 1, MoreBytes: 2}}, worker)
				c.CountLater(&Packet{Worker: worker, Headers: packet.Headers{IPLen: 5}}, 0)
			}
			c.Publish(worker)
			c.Publish(worker) // nothing more
		})
	}
	c.Counters() // while they are written, for the race detector
	wg.Wait()
	want := []Counter{{Name: "a", Packets: 6000, Bytes: 133000}, {Name: "b", Packets: 2000, Bytes: 3000}}
	if got := c.Counters(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
