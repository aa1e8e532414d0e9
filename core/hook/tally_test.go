package hook

import (
	"slices"
	"sync"
	"testing"
)

func TestTally(t *testing.T) {
	c := NewTally(2, []string{"a", "b"})
	var wg sync.WaitGroup
	for worker := range 2 {
		wg.Go(func() {
			for range 1000 {
				c.Count(worker, 0, 60)
				c.Count(worker, worker, 1)
			}
		})
	}
	c.Counters() // while they are written, for the race detector
	wg.Wait()
	want := []Counter{{Name: "a", Packets: 3000, Bytes: 121000}, {Name: "b", Packets: 1000, Bytes: 1000}}
	if got := c.Counters(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
