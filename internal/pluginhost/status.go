package pluginhost

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/rtflow/pipelined/sdk"
)

// Status is the state of a plugin, for operators.
type Status struct {
	Command   string          `json:"command"`
	PID       int             `json:"pid,omitempty"` // absent: no process
	Since     time.Time       `json:"since,omitzero"`
	Window    uint64          `json:"window,omitempty"` // records that the plugin lets us send ahead, at most so far
	Breaker   string          `json:"breaker"`          // closed; open: not tried for a while; half-open: tried once
	RetryAt   time.Time       `json:"retry_at,omitzero"`
	LastExit  string          `json:"last_exit,omitempty"` // why the last process ended
	ExitAt    time.Time       `json:"exit_at,omitzero"`
	Limits    string          `json:"limits,omitempty"`     // why memory and CPU are not limited, though they should be
	LastLines []string        `json:"last_lines,omitempty"` // that the process has printed
	Plugin    json.RawMessage `json:"plugin,omitempty"`     // what the plugin says of itself
}

// Status returns how the plugin is doing. Safe for concurrent use.
func (s *Sink) Status() any {
	state := s.breaker.State() // before the lock, which the breaker's callback takes
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Command: s.options.Command[0], Window: s.stats.window.Load(), Breaker: state.String(), Limits: s.limits, LastExit: s.exit, ExitAt: s.exitAt}
	if state == gobreaker.StateOpen {
		st.RetryAt = s.retryAt
	}
	if s.output != nil {
		st.LastLines = s.output.Last()
	}
	if p := s.process; p != nil {
		st.PID, st.Since = p.process.PID(), p.started
		if h := p.health.Load(); h.GetStatus() != "" {
			st.Plugin = json.RawMessage(h.GetStatus())
		}
	}
	return st
}

// maxCounters is how many counters of a plugin are shown, over all its processes.
const maxCounters = 64

// counters returns the counters of the plugin itself as the last health call has them.
func counters(p *live) map[string]uint64 {
	list := p.health.Load().GetCounters()
	found := make(map[string]uint64)
	for _, c := range list[:min(len(list), maxCounters)] {
		if validCounter(c.GetName()) {
			found[c.GetName()] = c.GetValue()
		}
	}
	return found
}

// addCounters adds counters of a process to those of the processes before. Names that it is the first to have are left out
// when there are enough.
func addCounters(sum, more map[string]uint64) {
	for _, name := range slices.Sorted(maps.Keys(more)) {
		if _, known := sum[name]; known || len(sum) < maxCounters {
			sum[name] += more[name]
		}
	}
}

func validCounter(name string) bool {
	for i := range len(name) {
		if c := name[i]; c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != "" && len(name) <= 64
}

// Counters returns the host's counters of the plugin, and those of the plugin itself, added up over its processes. Safe for
// concurrent use.
func (s *Sink) Counters() []sdk.Counter {
	list := []sdk.Counter{
		{Name: "process_starts", Value: s.stats.starts.Load()},
		{Name: "process_failures", Value: s.stats.failures.Load()},
		{Name: "process_kills", Value: s.stats.kills.Load()},
		{Name: "protocol_breaches", Value: s.stats.breaches.Load()},
		{Name: "batches", Value: s.stats.batches.Load()},
		{Name: "records", Value: s.stats.records.Load()},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var total, left uint64
	if s.output != nil {
		total, left = s.output.Counts()
	}
	list = append(list, sdk.Counter{Name: "output_lines", Value: s.lines.total + total}, sdk.Counter{Name: "output_lines_left_out", Value: s.lines.left + left})
	own := maps.Clone(s.exits)
	if s.process != nil {
		addCounters(own, counters(s.process))
	}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		list = append(list, sdk.Counter{Name: "plugin_" + name, Value: own[name]})
	}
	return list
}
