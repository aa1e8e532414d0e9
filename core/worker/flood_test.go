package worker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestP3UnansweredFlood floods an open port from forged addresses beside sessions that both ends want: the flood makes no
// more records than its rate, answered or not, and each of the others has its open record, with the time of its first
// packet, before its close.
func TestP3UnansweredFlood(t *testing.T) {
	const syn, ack, fin = packet.SYN, packet.ACK, packet.FIN
	const seconds, honest = 30, 10
	r := newRigLimited(t, roomy, admission.Rate{PerSecond: 2, Burst: 5})
	began := map[string]time.Duration{}
	for s := range seconds {
		at := time.Duration(s) * time.Second
		var b []timed
		for i := range 60 {
			src := fmt.Sprintf("203.0.%d.%d", s, i)
			b = append(b, timed{at: at, data: tcpFrame(t, src, 4000, server, 443, syn)})
			if i%2 == 0 { // the server answers
				b = append(b, timed{at: at, data: tcpFrame(t, server, 443, src, 4000, syn|ack), on: "wan0"})
			}
		}
		if s < honest {
			src := fmt.Sprintf("192.0.2.%d", 10+s)
			to := func(after int, flags uint8) timed {
				return timed{at: at + time.Duration(after)*time.Millisecond, data: tcpFrame(t, src, 5000, server, 443, flags)}
			}
			from := func(after int, flags uint8) timed {
				return timed{at: at + time.Duration(after)*time.Millisecond, data: tcpFrame(t, server, 443, src, 5000, flags), on: "wan0"}
			}
			began[src] = at + time.Millisecond
			b = append(b, to(1, syn), from(2, syn|ack), to(3, ack), to(4, fin|ack), from(5, fin|ack), to(6, ack))
		}
		for len(b) > 0 {
			n := min(len(b), packet.BatchSize)
			r.batch(b[:n]...)
			b = b[n:]
		}
	}
	for s := seconds; s < seconds+60; s++ {
		r.timeout(time.Duration(s) * time.Second)
	}
	opened, closed, flood := map[string]bool{}, 0, 0
	var announced event.LossCounts
	for _, rec := range r.run() {
		src := rec.Src().String()
		at, ours := began[src]
		switch {
		case rec.Kind() == event.Loss:
			for k, n := range rec.LossCounts() {
				announced[k] += n
			}
		case !ours:
			flood++
		case rec.Kind() == event.SessionOpen:
			if opened[src] || rec.Time() != start+wallOffset+int64(at) {
				t.Errorf("open record of %s: opened before %v, at %d, began %d", src, opened[src], rec.Time(), start+wallOffset+int64(at))
			}
			opened[src] = true
		case rec.Kind() == event.SessionClose:
			if !opened[src] {
				t.Errorf("%s is closed and was not opened", src)
			}
			closed++
		}
	}
	if len(opened) != honest || closed != honest {
		t.Errorf("%d opened and %d closed of %d sessions that both ends want", len(opened), closed, honest)
	}
	if most := 5 + 2*(seconds+60); flood > most || flood == 0 {
		t.Errorf("%d records of the flood, want at most %d", flood, most)
	}
	led := r.gate.Ledger()
	for _, k := range []event.Kind{event.SessionOpen, event.SessionClose} {
		if led.Offered[k] != 60*seconds+honest || announced[k] != led.RateLimited[k] {
			t.Errorf("%v: %d offered of %d, %d limited, %d announced", k, led.Offered[k], 60*seconds+honest, led.RateLimited[k], announced[k])
		}
	}
}

// TestP3OpenWithoutRoom fills a ring's share of unanswered sessions. What it has no room for is owed: the open record of a
// session that both ends want comes then, with the time of its first packet; that of one which ends without an answer is
// refused, and counted.
func TestP3OpenWithoutRoom(t *testing.T) {
	const syn, ack = packet.SYN, packet.ACK
	handshake := func(src string, at time.Duration) []timed {
		return []timed{
			{at: at, data: tcpFrame(t, server, 443, src, 4000, syn|ack), on: "wan0"}, {at: at, data: tcpFrame(t, src, 4000, server, 443, ack)},
		}
	}
	r := newRigLimited(t, replay.Limits{Slots: 64, Telemetry: 32, PerKind: 2}, admission.Rate{},
		policy(func(_ *hook.Packet, permit *hook.Permit, _ *hook.Finding) hook.Verdict {
			permit.NoClose = true
			return hook.Pass
		}))
	var begin []timed
	for _, src := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"} {
		begin = append(begin, timed{at: 0, data: tcpFrame(t, src, 4000, server, 443, syn)})
	}
	begin = append(begin, handshake("192.0.2.5", time.Millisecond)...) // wanted before the batch is over
	r.batch(begin...)
	r.batch(handshake("192.0.2.3", time.Second)...)
	r.timeout(time.Second)
	r.lane = r.Gate.Lane(t.Context(), 0)
	for range r.source.batches {
		if err := r.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var opened []string
	for _, rec := range r.drain() {
		if rec.Kind() != event.SessionOpen || rec.Time() != start+wallOffset {
			t.Errorf("%s", line(&rec))
		}
		opened = append(opened, rec.Src().String())
	}
	if want := []string{"192.0.2.1", "192.0.2.2", "192.0.2.5", "192.0.2.3"}; !slices.Equal(opened, want) {
		t.Errorf("opened %v, want %v", opened, want)
	}
	led := r.gate.Ledger()
	if led.Offered[event.SessionOpen] != 4 || led.Sinks[0].OverBudget[event.SessionOpen] != 0 {
		t.Errorf("offered %d, over budget %d; want 4 and 0", led.Offered[event.SessionOpen], led.Sinks[0].OverBudget[event.SessionOpen])
	}
	for at := 2 * time.Second; at < time.Minute; at += time.Second {
		r.timeout(at)
	}
	lost := uint64(0)
	for _, rec := range r.run() {
		if rec.Kind() != event.Loss {
			t.Errorf("%s", line(&rec))
			continue
		}
		lost += rec.LossCounts()[event.SessionOpen]
	}
	if led := r.gate.Ledger(); led.RateLimited[event.SessionOpen] != 1 || lost != 1 {
		t.Errorf("%d opens limited, %d announced, want 1", led.RateLimited[event.SessionOpen], lost)
	}
}
