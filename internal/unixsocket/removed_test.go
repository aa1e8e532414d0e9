package unixsocket

import (
	"os"
	"path/filepath"
	"testing"
)

// TestRemovedWhileMade: a socket that somebody removes before it has its permissions is made once more.
func TestRemovedWhileMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, err := Listen(path, Options{Mode: 0o600, Group: -1})
	if err != nil {
		t.Fatal(err)
	}
	w := l.(*listener)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.Remove(path) // mostly there is none
			}
		}
	}()
	for range 500 {
		if err := w.check(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-stopped
	for !w.there() {
		if err := w.check(); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
