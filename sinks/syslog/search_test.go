package syslog

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// hangsUp is a collector that ends the connection at some messages, and takes the others.
type hangsUp struct {
	mu   sync.Mutex
	got  map[string]bool
	ends atomic.Int64
	at   func(msg string) bool
}

func (h *hangsUp) serve(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		digits, err := in.ReadString(' ')
		if err != nil {
			return
		}
		n, _ := strconv.Atoi(strings.TrimSuffix(digits, " ")) // written by the sink
		msg := make([]byte, n)
		if _, err := io.ReadFull(in, msg); err != nil {
			return
		}
		if h.at(string(msg)) {
			h.ends.Add(1)
			return
		}
		h.mu.Lock()
		h.got[string(msg)] = true
		h.mu.Unlock()
	}
}

func (h *hangsUp) serveRELP(c net.Conn) {
	in := newRELPReader(c)
	for {
		f, err := in.next()
		if err != nil {
			return
		}
		answer := "200 OK"
		if f.command == relpOpen {
			answer += "\ncommands=syslog"
		}
		if f.command == relpSyslog {
			if h.at(string(f.data)) {
				h.ends.Add(1)
				return
			}
			h.mu.Lock()
			h.got[string(f.data)] = true
			h.mu.Unlock()
		}
		if _, err := c.Write(appendRELP(nil, f.txnr, relpResponse, []byte(answer))); err != nil {
			return
		}
	}
}

// warnings collects what a sink warns of.
type warnings struct {
	mu   sync.Mutex
	text []string
}

func (w *warnings) warn(msg string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, msg+" "+fmt.Sprintf("%q", args))
}

func (w *warnings) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.text)
}

func warningSink(t *testing.T, text string) (*Sink, *warnings) {
	t.Helper()
	w := new(warnings)
	section, problems := config.ParseTable("test.toml", []byte(text))
	sink := Plugin().Configure(section, sdk.Env{Hostname: "fw1", Warn: w.warn})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return sink.(*Sink), w
}

// isRecord returns what is true of messages of those records of numbered.
func isRecord(numbers ...int) func(string) bool {
	return func(msg string) bool {
		for _, n := range numbers {
			if strings.Contains(msg, fmt.Sprintf(`session-id-32="%d"`, n)) {
				return true
			}
		}
		return false
	}
}

// TestHangsUp has collectors that end the connection at some records: those are given up and told, and all others that come
// behind them arrive.
func TestHangsUp(t *testing.T) {
	const n = 600
	poison := []int{20, 21, 500}
	for _, scheme := range []string{"tcp", "relp"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			h := &hangsUp{got: map[string]bool{}, at: isRecord(poison...)}
			serve := h.serve
			if scheme == "relp" {
				serve = h.serveRELP
			}
			sink, warned := warningSink(t, fmt.Sprintf("address = %q", scheme+"://"+listenFunc(t, serve)))
			sink.links[0].hasty = true // as after the first end, which costs what the kernel of the collector had taken
			s := sinktest.NewStream(t)
			s.Append(numbered(n)...)
			r := keepRunning(t, s, sink)
			waitAcked(t, s, n)
			r.stop()
			rejected := s.Rejected()
			for _, p := range poison {
				if why := rejected[event.Seq(p)]; why != "the collector ends the connection at it" {
					t.Errorf("record %d: rejected for %q", p, why)
				}
			}
			for seq := range rejected {
				if !slices.Contains(poison, int(seq)) {
					t.Errorf("record %d is rejected", seq)
				}
			}
			told := 0
			for _, w := range warned.all() {
				if strings.Contains(w, "a record is given up") && strings.Contains(w, "RT_FLOW_SESSION_CREATE") {
					told++
				}
			}
			if told != len(rejected) {
				t.Errorf("%d records are rejected, and told are\n%s", len(rejected), strings.Join(warned.all(), "\n"))
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			for i, m := range want(t, format.Options{}, 1, numbered(n)...) {
				if h.got[m] || rejected[event.Seq(i+1)] != "" {
					continue
				}
				t.Fatalf("record %d is missing", i+1)
			}
			t.Logf("%d ends", h.ends.Load())
		})
	}
}

// TestHangsUpAtAll has a collector that ends every connection at the first message: nothing is given up, and when it is
// repaired everything that waits arrives.
func TestHangsUpAtAll(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"tcp", "relp"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			var repaired atomic.Bool
			h := &hangsUp{got: map[string]bool{}, at: func(string) bool { return !repaired.Load() }}
			serve := h.serve
			if scheme == "relp" {
				serve = h.serveRELP
			}
			sink, _ := warningSink(t, fmt.Sprintf("address = %q", scheme+"://"+listenFunc(t, serve)))
			sink.links[0].hasty = true
			s := sinktest.NewStream(t)
			const n = 300
			s.Append(numbered(n)...)
			r := keepRunning(t, s, sink)
			await.Until(t, "it has ended many connections", func() bool { return h.ends.Load() > 40 })
			before := s.Acked()
			repaired.Store(true)
			waitAcked(t, s, n)
			r.stop()
			if got := s.Rejected(); len(got) != 0 {
				t.Errorf("rejected %v", got)
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if before != 0 {
				t.Errorf("acknowledged up to %d by a collector that took nothing", before)
			}
			for i, m := range want(t, format.Options{}, 1, numbered(n)...) {
				if !h.got[m] && event.Seq(i+1) > before {
					t.Fatalf("record %d is missing", i+1)
				}
			}
		})
	}
}

// TestHangsUpNever pins that 0 gives up nothing.
func TestHangsUpNever(t *testing.T) {
	t.Parallel()
	h := &hangsUp{got: map[string]bool{}, at: isRecord(10)}
	sink, _ := warningSink(t, fmt.Sprintf("max_refusals = 0\naddress = %q", "relp://"+listenFunc(t, h.serveRELP)))
	s := sinktest.NewStream(t)
	s.Append(numbered(100)...)
	r := keepRunning(t, s, sink)
	await.Until(t, "it has ended many connections", func() bool { return h.ends.Load() > 20 })
	r.stop()
	if got := s.Acked(); got != 9 || len(s.Rejected()) != 0 {
		t.Errorf("acknowledged up to %d, rejected %v", got, s.Rejected())
	}
}

// TestSearchModel runs the search against collectors in memory with records at random that they end the connection at. Those
// are given up and no others, in a bounded number of connections.
func TestSearchModel(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 7))
		n := event.Seq(1 + rng.IntN(3000))
		poison := map[event.Seq]bool{}
		for range rng.IntN(6) {
			p := 1 + event.Seq(rng.IntN(int(n)))
			poison[p] = true
			if rng.IntN(2) == 0 {
				poison[p+1] = true
			}
		}
		delete(poison, n) // there must be another behind it
		s := search{most: 1 + rng.IntN(4)}
		rejected := map[event.Seq]bool{}
		acked := event.Seq(0)
		now := time.Unix(1e9, 0)
		connections := 0
		for acked < n {
			if connections++; connections > 40+60*len(poison)+40*s.most*(1+len(poison)) {
				t.Fatalf("seed %d: %d connections, acknowledged up to %d of %d, %+v", seed, connections, acked, n, s)
			}
			acked = connectOnce(t, &s, acked, n, poison, rejected, &now)
		}
		for p := range rejected {
			if !poison[p] {
				t.Fatalf("seed %d: record %d is given up", seed, p)
			}
		}
		for p := range poison {
			if p <= n && !rejected[p] {
				t.Fatalf("seed %d: record %d is not given up", seed, p)
			}
		}
	}
}

// connectOnce is one connection of the model, in which the kernel of the collector acknowledges nothing until a search is on.
func connectOnce(t *testing.T, s *search, acked, n event.Seq, poison, rejected map[event.Seq]bool, now *time.Time) event.Seq {
	s.begin()
	head, took, next := acked+1, false, acked+1
	for {
		last, bad := acked, false
		for ; next <= n && !s.full(); next++ {
			switch {
			case rejected[next], s.holds(next):
				continue
			}
			s.add(next, next, 1)
			last, bad = next, bad || poison[next]
		}
		s.sent = s.n > 0
		if !s.sent { // nothing is left but what was given up, or held back
			if s.other {
				t.Fatal("no other record")
			}
			return n
		}
		if bad {
			if seq := s.ended(head, took); seq != 0 {
				rejected[seq] = true
			}
			return acked
		}
		if !s.on { // the rest has no such record
			return n
		}
		if s.believe(1, 1, *now) != 0 {
			t.Fatal("believed at once")
		}
		*now = now.Add(proveAfter)
		if s.believe(1, 1, *now) != 1 {
			t.Fatal("not believed after the time")
		}
		if err := s.stood(); err != nil {
			return acked
		}
		acked, took = last, true
		if !s.on {
			next = acked + 1
		}
	}
}
