package deliver

import (
	"time"

	"github.com/rtflow/pipelined/sdk"
)

// successor is the sink that takes the place of the one that runs, and how long that may take to end its run.
type successor struct {
	sink   sdk.Sink
	within time.Duration
}

// Replace puts another sink in the place of the one that runs, on the same ring and the same stream. The run is told that its stream
// is drained, and ends when what the sink has in hand is acknowledged; after that time it is ended, and its successor gets what is not
// acknowledged once more. The former sink is closed before the next one runs. Safe for concurrent use.
func (d *Delivery) Replace(s sdk.Sink, within time.Duration) {
	d.mu.Lock()
	if d.over {
		d.mu.Unlock()
		d.closeSink(s)
		return
	}
	skipped := d.successor
	d.successor = &successor{sink: s, within: within}
	d.mu.Unlock()
	select {
	case d.replaced <- struct{}{}:
	default:
	}
	if skipped != nil {
		d.closeSink(skipped.sink)
	}
}

// current returns the sink that runs. Safe for concurrent use.
func (d *Delivery) current() sdk.Sink {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sink
}

// patience returns how long a run may take to end for a successor, and whether there is one.
func (d *Delivery) patience() (within time.Duration, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.successor == nil {
		return 0, false
	}
	return d.successor.within, true
}

// mustSucceed reports whether there is a successor.
func (d *Delivery) mustSucceed() bool {
	_, ok := d.patience()
	return ok
}

// succeed puts the successor in its place, if there is one. No run is under way.
func (d *Delivery) succeed() {
	d.mu.Lock()
	next := d.successor
	d.successor = nil // from here on Replace does not skip it
	former := d.sink
	d.mu.Unlock()
	if next == nil {
		return
	}
	select {
	case <-d.replaced: // for this one, or for one after it, which would find the token gone, and is seen before the next run
	default:
	}
	d.closeSink(former)
	if s, ok := next.sink.(sdk.Successor); ok {
		s.Succeed(former)
	}
	d.mu.Lock()
	for name, n := range counters(former) {
		d.counted[name] += n
	}
	d.sink = next.sink
	d.mu.Unlock()
	d.succeed()
}

// counters returns a sink's own counters by name.
func counters(s sdk.Sink) map[string]uint64 {
	byName := make(map[string]uint64)
	if r, ok := s.(sdk.CounterReporter); ok {
		for _, c := range r.Counters() {
			byName[c.Name] = c.Value
		}
	}
	return byName
}

// Counters returns the sink's own counters, nil if it has none. What sinks in its place have counted under the same names is in them.
// Safe for concurrent use.
func (d *Delivery) Counters() []sdk.Counter {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.sink.(sdk.CounterReporter)
	if !ok {
		return nil
	}
	list := r.Counters()
	for i := range list {
		list[i].Value += d.counted[list[i].Name]
	}
	return list
}

// Detail returns what the sink reports about itself, nil if it reports nothing. Safe for concurrent use.
func (d *Delivery) Detail() any {
	if r, ok := d.current().(sdk.Reporter); ok {
		return r.Status()
	}
	return nil
}

// Reopen asks the sink to reopen what it writes to, if it can. Safe for concurrent use.
func (d *Delivery) Reopen() {
	if r, ok := d.current().(sdk.Reopener); ok {
		r.Reopen()
	}
}
