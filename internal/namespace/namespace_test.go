package namespace

import (
	"errors"
	"sync"
	"testing"
)

// TestClose closes a namespace while functions run in it: those run to their end, and no other begins.
func TestClose(t *testing.T) {
	for range 100 {
		n, err := Current()
		if err != nil {
			t.Fatal(err)
		}
		var running sync.WaitGroup
		closed := false
		for range 3 {
			running.Go(func() {
				for {
					err := n.Run(func() {
						if closed {
							t.Error("a function runs after the end")
						}
					})
					if errors.Is(err, ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		closed = true
		running.Wait()
		if err := n.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
	}
	if err := (*Namespace)(nil).Close(); err != nil {
		t.Error(err)
	}
}
