package translate

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/testing/race"
)

// host is a translator that masquerades, and knows a flow from the known-th question on.
type host struct {
	mu    sync.Mutex
	known int
	asked map[packet.Tuple]int
	err   error
}

func (h *host) Close() error { return nil }

func (h *host) Translate(questions []source.Question) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	for i := range questions {
		q := &questions[i]
		h.asked[q.Flow]++
		if h.asked[q.Flow] >= h.known {
			q.Reply, q.Found = q.Flow.Reverse(), true
			q.Reply.Dst, q.Reply.DstPort = translated, 61000
		}
	}
	return nil
}

var translated, _ = packet.AddrFrom(netip.MustParseAddr("198.51.100.99"))

func flow(port uint16) packet.Tuple {
	return packet.Tuple{
		Family: packet.IPv4, Proto: packet.ProtoUDP, Src: packet.Addr{192, 0, 2, 1}, Dst: packet.Addr{198, 51, 100, 1}, SrcPort: port, DstPort: 53,
	}
}

// rig is a translation over a real table.
type rig struct {
	*Translation
	table *session.Table
	host  *host
	keys  map[uint16]*session.Key
}

func newRig(known int) *rig {
	table := session.New(session.Config{Max: 1 << 16, Workers: 1, Timeouts: session.DefaultTimeouts(), Translations: true})
	h := &host{known: known, asked: make(map[packet.Tuple]int)}
	return &rig{Translation: New(h, table, func(error) {}), table: table, host: h, keys: make(map[uint16]*session.Key)}
}

// begin begins a session as a worker does.
func (r *rig) begin(port uint16) {
	h := packet.Headers{Tuple: flow(port), IPLen: 60}
	k := new(session.Key)
	r.table.SetKey(k, &h.Tuple, 1)
	var old session.Replaced
	r.table.Create(k, &h, 1, &session.Params{ID: uint64(port)}, &old)
	r.keys[port] = k
	r.Asker(0).Ask(k, uint64(port), &h.Tuple)
}

func (r *rig) nat(t *testing.T, port uint16) packet.Translation {
	t.Helper()
	var s session.Session
	if !r.table.Get(r.keys[port], 2, &s) {
		t.Fatalf("session %d is not there", port)
	}
	return s.NAT
}

func (r *rig) expect(t *testing.T, want map[string]uint64) {
	t.Helper()
	got := r.Counts()
	for name, n := range got {
		if n != want[name] {
			t.Errorf("%s: %d, want %d", name, n, want[name])
		}
	}
}

// TestTranslates puts the answer into the table: not before the host can have forwarded the packet, and also when the host knows
// it only later.
func TestTranslates(t *testing.T) {
	for attempt, want := range []time.Duration{20 * time.Millisecond, 320 * time.Millisecond, 3320 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(attempt + 1)
			r.begin(7)
			ctx, cancel := context.WithCancel(t.Context())
			go r.Run(ctx)
			time.Sleep(want - time.Millisecond)
			synctest.Wait()
			if nat := r.nat(t, 7); nat.Any() {
				t.Errorf("attempt %d: translated too early", attempt)
			}
			time.Sleep(2*period + 2*time.Millisecond)
			synctest.Wait()
			if nat := r.nat(t, 7); nat.Src != translated || nat.SrcPort != 61000 || nat.Dst != (packet.Addr{}) {
				t.Errorf("attempt %d: translated to %+v", attempt, nat)
			}
			r.expect(t, map[string]uint64{"asked": 1, "found": 1})
			cancel()
		})
	}
}

// TestUnknown gives up after the last attempt.
func TestUnknown(t *testing.T) {
	r := newRig(4)
	r.begin(7)
	for now := time.Duration(0); now < 5*time.Second; now += period {
		r.step(now)
	}
	r.expect(t, map[string]uint64{"asked": 1, "unknown": 1})
	if n := r.host.asked[flow(7)]; n != len(delays) {
		t.Errorf("asked %d times", n)
	}
}

// TestGone does not put the answer into the next session of the same flow.
func TestGone(t *testing.T) {
	r := newRig(1)
	r.begin(7)
	r.step(0)
	r.table.End(0, 10, nil)
	h := packet.Headers{Tuple: flow(7), IPLen: 60}
	var old session.Replaced
	r.table.Create(r.keys[7], &h, 11, &session.Params{ID: 99}, &old)
	r.step(time.Second)
	if nat := r.nat(t, 7); nat.Any() {
		t.Errorf("the next session of the flow is translated to %+v", nat)
	}
	r.expect(t, map[string]uint64{"asked": 1, "gone": 1})
}

// TestFails asks again after an error, and says the first of several in a row.
func TestFails(t *testing.T) {
	r := newRig(1)
	said := 0
	r.failed = func(error) { said++ }
	r.host.err = errors.New("no buffer space")
	for port := range uint16(100) {
		r.begin(port + 1)
	}
	r.step(0)
	r.step(period)
	r.host.err = nil
	r.step(period + delays[1])
	r.expect(t, map[string]uint64{"asked": 100, "found": 100, "errors": 2})
	if said != 1 {
		t.Errorf("said %d times", said)
	}
}

// TestBounds refuses, and counts, what is too much at a time.
func TestBounds(t *testing.T) {
	r := newRig(1)
	f := flow(7)
	a := r.Asker(0)
	k := new(session.Key)
	for range perWorker + 5 {
		a.Ask(k, 1, &f)
	}
	r.expect(t, map[string]uint64{"refused": 5})
	for range maxWaiting/perWorker + 1 {
		r.collect(a, 0)
		for range perWorker {
			a.Ask(k, 1, &f)
		}
	}
	if c := r.Counts(); c["asked"] != maxWaiting || c["refused"] != 5+perWorker || r.queues[0].len() != maxWaiting {
		t.Errorf("counts %v, %d wait", c, r.queues[0].len())
	}
}

// TestP7Ask pins that a worker asks without an allocation.
func TestP7Ask(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	r := newRig(1)
	f := flow(7)
	k, asker := new(session.Key), r.Asker(0)
	if n := testing.AllocsPerRun(1000, func() { asker.Ask(k, 1, &f) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestConcurrent asks while what has begun is collected.
func TestConcurrent(t *testing.T) {
	r := newRig(1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for port := range uint16(5000) {
			r.begin(port + 1)
		}
	}()
	now := time.Duration(0)
	for running := true; running; now += period {
		select {
		case <-done:
			running = false
		default:
		}
		r.step(now)
	}
	r.step(now + time.Second)
	r.expect(t, map[string]uint64{"asked": 5000, "found": 5000})
}
