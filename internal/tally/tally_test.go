package tally

import (
	"sync"
	"testing"
)

// TestNumbers has one goroutine write and another read: what is read never goes down.
func TestNumbers(t *testing.T) {
	var added Number
	published := make([]Number, 2)
	var wg sync.WaitGroup
	wg.Go(func() {
		var plain [2]uint64
		for i := range uint64(10000) {
			added.Add(2)
			plain[0], plain[1] = i+1, 7
			Publish(published, plain[:])
		}
	})
	wg.Go(func() {
		var last [2]uint64
		for range 1000 {
			for i, v := range [2]uint64{added.Load(), published[0].Load()} {
				if v < last[i] {
					t.Errorf("number %d went from %d down to %d", i, last[i], v)
				}
				last[i] = v
			}
		}
	})
	wg.Wait()
	if a, b, c := added.Load(), published[0].Load(), published[1].Load(); a != 20000 || b != 10000 || c != 7 {
		t.Errorf("got %d, %d and %d, want 20000, 10000 and 7", a, b, c)
	}
}
