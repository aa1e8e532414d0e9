package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/rtflow/pipelined/core/summary"
)

// Limits of how often somebody who looks at the whole gets a frame.
const (
	MinInterval = 200 * time.Millisecond
	MaxInterval = time.Minute
)

// Top is what the whole is shown with.
type Top struct {
	Status func() any   // the status, without what is long
	Health func() error // nil: the daemon is well
}

// Frame is what is shown of the whole at a time.
type Frame struct {
	At        time.Time       `json:"at"`
	Status    json.RawMessage `json:"status"`
	Unhealthy string          `json:"unhealthy,omitempty"` // why the daemon is not well
	Summary   summary.Report  `json:"summary"`
}

// stream answers GET /top: a frame in every interval, the first one at once.
func (t *Top) stream(w http.ResponseWriter, r *http.Request, e *Events) {
	interval := time.Second
	if text := r.URL.Query().Get("interval"); text != "" {
		var err error
		if interval, err = time.ParseDuration(text); err != nil || interval < MinInterval || interval > MaxInterval {
			http.Error(w, fmt.Sprintf("interval: must be %v to %v", MinInterval, MaxInterval), http.StatusBadRequest)
			return
		}
	}
	watcher, err := e.Tail.Watch()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer watcher.Close()
	sum, err := summary.New(e.Names, e.Hostname(), time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	for next := time.Now(); ; {
		if now := time.Now(); !now.Before(next) {
			next = now.Add(interval)
			frame, err := t.frame(now, sum)
			if err == nil {
				err = send(w, frame)
			}
			if err != nil {
				return // the peer has gone, or takes nothing
			}
		}
		ctx, cancel := context.WithDeadline(r.Context(), next)
		batch, err := watcher.Next(ctx)
		cancel()
		if r.Context().Err() != nil {
			return // the peer has gone
		}
		if err == nil {
			sum.Add(batch, time.Now())
		}
	}
}

func (t *Top) frame(now time.Time, sum *summary.Summary) ([]byte, error) {
	status, err := json.Marshal(t.Status())
	if err != nil {
		return nil, err
	}
	f := Frame{At: now, Status: status, Summary: sum.Report(now)}
	if err := t.Health(); err != nil {
		f.Unhealthy = err.Error()
	}
	line, err := json.Marshal(f)
	return append(line, '\n'), err
}
