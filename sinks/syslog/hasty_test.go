package syslog

import (
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/rtflow/pipelined/sdk/sinktest"
)

// TestHastyPeer connects to a port that reads a little and hangs up, as one does that speaks something else: what its kernel
// has acknowledged may be lost once, and not again with each connection. When it understands us, everything else arrives.
func TestHastyPeer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var understands atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if understands.Load() {
				_, _ = io.Copy(io.Discard, conn)
			} else {
				_, _ = io.CopyN(io.Discard, conn, 5000)
			}
			_ = conn.Close()
		}
	}()
	defer func() { _ = l.Close(); <-done }()
	s := sinktest.NewStream(t)
	s.Append(numbered(2000)...)
	sink := newTestSink(t, "max_refusals = 0", "tcp://"+l.Addr().String())
	run := func() {
		t.Helper()
		if err := s.Run(t.Context(), sink); err == nil {
			t.Error("a connection that the peer has closed is no error")
		}
	}
	run()
	once := s.Acked()
	for range 10 {
		run()
	}
	if got := s.Acked(); got != once {
		t.Errorf("acknowledged up to %d by the first connection, and then up to %d", once, got)
	}
	understands.Store(true)
	s.Drain()
	if err := s.Run(t.Context(), sink); err != nil {
		t.Error(err)
	}
	if got := s.Acked(); got != 2000 {
		t.Errorf("acknowledged up to %d at the end", got)
	}
}
