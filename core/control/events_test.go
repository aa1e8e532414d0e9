package control

import (
	"bufio"
	"context"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/sdk/event"
)

// shown is a daemon whose only lane is the test's.
type shown struct {
	*Client

	tail *tail.Tail
	lane *tail.Lane
}

func serveEvents(t *testing.T) *shown {
	s := &shown{tail: tail.New()}
	s.lane = s.tail.Add()
	names := &event.Names{Zones: map[uint16]string{1: "lan"}}
	s.Client = serve(t, Daemon{Events: &Events{
		Hostname: func() string { return "edge-1" },
		Tail:     s.tail, Names: func(uint32) *event.Names { return names }, Latest: func() *event.Names { return names },
	}}, ListenOptions{Group: -1})
	return s
}

// put shows n denials, as many as there is room for, which are numbered by their ports.
func (s *shown) put(n int) {
	if room := s.lane.Begin(n); room > 0 {
		for i := range room {
			var rec event.Record
			rec.Reset(event.PolicyDeny)
			rec.SetFlow(event.FamilyIPv4, 6, &[16]byte{10}, &[16]byte{192}, uint16(i), 443)
			s.lane.Put(&rec)
		}
		s.lane.End()
	}
}

func (s *shown) look(ctx context.Context, t *testing.T) io.ReadCloser {
	t.Helper()
	before, _ := s.tail.Watchers()
	lines, err := s.Events(ctx, new(EventQuery))
	if err != nil {
		t.Fatal(err)
	}
	s.await(t, before+1)
	return lines
}

// await waits until so many look.
func (s *shown) await(t *testing.T, watchers int) {
	t.Helper()
	for n := -1; n != watchers; n, _ = s.tail.Watchers() {
		if t.Context().Err() != nil {
			t.Fatalf("%d look, want %d", n, watchers)
		}
		runtime.Gosched()
	}
}

// TestEvents has one peer read and another one take nothing: the first one is told of every event, or how many it has missed, and the
// lane waits for nobody.
func TestEvents(t *testing.T) {
	s := serveEvents(t)
	deaf := s.look(t.Context(), t)
	lines := s.look(t.Context(), t)
	const want = 100_000
	offered := make(chan struct{})
	go func() {
		defer close(offered)
		for range want / 100 {
			s.put(100)
			runtime.Gosched()
		}
	}()
	seen, leftOut := 0, 0
	in := bufio.NewScanner(lines)
	for seen+leftOut < want && in.Scan() {
		if text, ok := strings.CutPrefix(in.Text(), Comment); ok {
			n, err := strconv.Atoi(strings.Fields(text)[0])
			if err != nil {
				t.Fatal(err)
			}
			leftOut += n
		} else {
			seen++
		}
	}
	<-offered
	if seen == 0 || seen+leftOut != want {
		t.Errorf("%d seen, %d left out, of %d: %v", seen, leftOut, want, in.Err())
	}
	lines.Close()
	deaf.Close()
	s.await(t, 0)
}

// TestComeAndGo has a hundred peers look, and go, some in the middle of an event: nothing stays behind.
func TestComeAndGo(t *testing.T) {
	s := serveEvents(t)
	before := descriptors(t)
	for i := range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		lines := s.look(ctx, t)
		s.put(50)
		if i%10 == 0 {
			if _, err := lines.Read(make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		lines.Close()
		s.await(t, 0)
	}
	for descriptors(t) > before { // the server closes its ends a moment later
		runtime.Gosched()
	}
}

// TestTooManyLook refuses one peer too many, with a reason.
func TestTooManyLook(t *testing.T) {
	s := serveEvents(t)
	for range tail.MaxWatchers {
		defer s.look(t.Context(), t).Close()
	}
	if _, err := s.Events(t.Context(), new(EventQuery)); err == nil || !strings.Contains(err.Error(), tail.ErrBusy.Error()) {
		t.Errorf("one more: %v", err)
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
