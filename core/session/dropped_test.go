package session

import (
	"testing"
	"time"
)

// TestDropped asks about flows of which the first packet was dropped: in both directions and all domains, for a minute after
// the last packet that was asked about, and not after a session was created.
func TestDropped(t *testing.T) {
	const second = int64(time.Second)
	r := newRig(t, 1000)
	h, other := flow(1), flow(2)
	k, another := r.key(&h.Tuple, 1), r.key(&other.Tuple, 1)
	reverse := h.Reverse()
	answer := r.key(&reverse, 7)
	if r.IsDropped(k, base) {
		t.Error("dropped before anything was")
	}
	r.FlowDropped(k, base)
	for _, c := range []struct {
		name string
		key  *Key
		at   int64
		want bool
	}{
		{"itself", k, 0, true},
		{"the answer in another domain", answer, second, true},
		{"another flow", another, 0, false},
		{"by a clock that is behind", answer, -second, true},
		{"at the end of the minute", answer, 58 * second, true},
		{"a minute after the last packet", k, 116 * second, true},
		{"longer", k, 180 * second, false},
	} {
		if got := r.IsDropped(c.key, base+c.at); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	r.FlowDropped(k, base)
	r.FlowDropped(another, base)
	r.packet(0, h, Params{ID: 1})
	if r.IsDropped(answer, base) || !r.IsDropped(another, base) {
		t.Error("a session was created of the one flow and not of the other")
	}
}

// TestDroppedFlood drops the first packets of more flows than are remembered: the latest are, and no other flow is taken for
// one of them.
func TestDroppedFlood(t *testing.T) {
	const flows, latest = 10 * droppedFlows, droppedFlows / 100
	r := newRig(t, 1000)
	for i := range flows {
		h := flow(i)
		r.FlowDropped(r.key(&h.Tuple, 1), base)
	}
	known := 0
	for i := range latest {
		h, never := flow(flows-1-i), flow(flows+i)
		if r.IsDropped(r.key(&h.Tuple, 1), base) {
			known++
		}
		if r.IsDropped(r.key(&never.Tuple, 1), base) {
			t.Errorf("flow %d was never dropped", flows+i)
		}
	}
	if known < latest*95/100 {
		t.Errorf("%d of the last %d flows are known", known, latest)
	}
}
