package syslog

import (
	"testing"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
)

func TestPauseGrows(t *testing.T) {
	const ms = time.Millisecond
	var p pause
	for i, c := range []struct {
		acked event.Seq
		want  time.Duration
	}{
		{5, 100 * ms}, {5, 200 * ms}, {5, 400 * ms}, {6, 100 * ms}, {6, 200 * ms}, {6, 400 * ms}, {6, 800 * ms}, {6, 1600 * ms},
		{6, 3200 * ms}, {6, 6400 * ms}, {6, 12800 * ms}, {6, 25600 * ms}, {6, 30000 * ms}, {6, 30000 * ms}, {7, 100 * ms},
	} {
		if got := p.grow(c.acked); got != c.want {
			t.Errorf("pause %d: %v, want %v", i, got, c.want)
		}
	}
}
