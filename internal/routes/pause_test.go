package routes

import (
	"testing"
	"time"
)

// TestPauses: changes are collected, later ones put nothing off, and after a reading that took long there is a pause.
func TestPauses(t *testing.T) {
	start := time.Date(2026, 11, 24, 3, 38, 11, 0, time.UTC)
	f := &Follower{}
	f.changed(start)
	f.changed(start.Add(collect / 2))
	if want := start.Add(collect); f.due != want {
		t.Errorf("due at %v, not %v", f.due, want)
	}
	f.rest(start, start.Add(2*time.Second))
	if !f.due.IsZero() {
		t.Errorf("due at %v", f.due)
	}
	f.changed(start.Add(3 * time.Second))
	if want := start.Add(2*time.Second + pause*2*time.Second); f.due != want {
		t.Errorf("due at %v, not %v", f.due, want)
	}
	f.rest(start, start.Add(time.Millisecond))
	f.changed(start.Add(time.Second))
	if want := start.Add(time.Second + collect); f.due != want {
		t.Errorf("due at %v, not %v", f.due, want)
	}
}
