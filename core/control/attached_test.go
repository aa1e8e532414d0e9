package control

import (
	"bufio"
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestAttachedUnderLoad has peers of all sorts come and go while events are admitted as fast as they can be: those that read, that go in the
// middle of an event, and that take nothing. Nobody looks in the end, and no goroutine and no descriptor is left.
func TestAttachedUnderLoad(t *testing.T) {
	rounds := 24
	if testing.Short() {
		rounds = 8
	}
	s := &shown{tail: tail.New()}
	s.lane = s.tail.Add()
	names := &event.Names{Zones: map[uint16]string{1: "lan"}}
	s.Client = serve(t, Daemon{
		Events: &Events{Hostname: func() string { return "edge-1" }, Tail: s.tail, Names: func(uint32) *event.Names { return names }, Latest: func() *event.Names { return names }},
		Top:    &Top{Status: func() any { return 1 }, Health: func() error { return nil }},
	}, ListenOptions{Group: -1})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				s.put(64)
				runtime.Gosched()
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	goroutines, open := runtime.NumGoroutine(), descriptors(t)
	for i := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		lines, err := s.Events(ctx, &EventQuery{Only: []string{event.PolicyDeny.String()}})
		if err != nil {
			t.Fatal(err)
		}
		frames, err := s.Frames(ctx, MinInterval)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(lines)
		for range i % 3 * 100 { // of some nothing is read
			if _, err := in.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if i%2 == 0 {
			if _, err := bufio.NewReader(frames).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if i%4 == 3 { // the peer is gone before its streams are closed
			cancel()
		}
		_, _ = lines.Close(), frames.Close() // errors of a stream that was left
		cancel()
	}
	s.await(t, 0)
	for runtime.NumGoroutine() > goroutines || descriptors(t) > open { // those of the last connections end a moment later
		if t.Context().Err() != nil {
			t.Fatalf("%d goroutines, %d at first; %d descriptors, %d at first", runtime.NumGoroutine(), goroutines, descriptors(t), open)
		}
		time.Sleep(time.Millisecond)
	}
}
