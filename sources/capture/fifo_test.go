package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
)

func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFIFO opens a FIFO before its writer, and reads what the writer writes, to its end.
func TestFIFO(t *testing.T) {
	path := fifo(t)
	s, err := Open(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var b packet.Batch
	if err := s.Receive(t.Context(), &b, time.Millisecond); err != nil || b.N != 0 {
		t.Fatalf("without a writer: %d packets, %v", b.N, err)
	}
	written := make(chan error, 1)
	go func() {
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_, err = w.Write(pcapOf(binary.LittleEndian, true, 1, many(200, 600)...))
			err = errors.Join(err, w.Close())
		}
		written <- err
	}()
	got, err := drain(t, s)
	if err != io.EOF || len(got) != 200 {
		t.Errorf("%d packets, %v", len(got), err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// TestFIFOEnds ends the wait for a writer, and the wait for what a writer writes. No goroutine is left (TestMain).
func TestFIFOEnds(t *testing.T) {
	for _, head := range []int{-1, 0, 10} {
		path := fifo(t)
		s, err := Open(Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if head >= 0 {
			w, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if _, err := w.Write(pcapOf(binary.LittleEndian, true, 1)[:head]); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var b packet.Batch
		received := make(chan error)
		go func() { received <- s.Receive(ctx, &b, time.Hour) }()
		cancel()
		if err := <-received; !errors.Is(err, context.Canceled) {
			t.Errorf("%d bytes written: %v", head, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
