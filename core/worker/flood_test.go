package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestP3UnansweredFlood floods an open port from forged addresses beside sessions that both ends want: the flood makes no
// more records than its rate, answered or not, and each of the others has its open record, with the time of its first
// packet, before its close.
func TestP3UnansweredFlood(t *testing.T) {
	const syn, ack, fin = packet.SYN, packet.ACK, packet.FIN
	const seconds, honest = 30, 10
	r := newRigLimited(t, admission.Rate{PerSecond: 2, Burst: 5})
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
