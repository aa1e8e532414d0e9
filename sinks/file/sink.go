package file

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

const (
	// writeSize is how many bytes are collected for a write while there are more records.
	writeSize = 256 << 10
	// syncRecords bounds how many records wait for the next sync of mode "interval": they hold slots in the ring. Where the
	// ring is small, half of its window is the bound.
	syncRecords = 1024
)

// Sink writes records to a target.
type Sink struct {
	enc   format.Encoder
	to    target
	mode  syncMode
	every time.Duration // between syncs of mode "interval"
	most  int           // records that wait for one
	pause time.Duration // after a write, before it asks for more records

	tellEpoch bool // in the records, where the format has a place for it

	mu   sync.Mutex
	wake context.CancelFunc // ends the wait for records of the run in progress
}

var (
	_ sdk.Sink     = (*Sink)(nil)
	_ sdk.Reopener = (*Sink)(nil)
	_ sdk.Reporter = (*Sink)(nil)

	_ sdk.Exclusive = (*Sink)(nil)
)

// Status is what a sink reports about itself.
type Status struct {
	Path      string `json:"path,omitempty"`
	Bytes     int64  `json:"bytes"`               // written since the start
	Rotations int64  `json:"rotations,omitempty"` // since the start
	Reopened  int64  `json:"reopened,omitempty"`  // on demand, or because the file was moved or deleted
	Packed    int64  `json:"compressed,omitempty"`
}

type counter = atomic.Int64

func newSink(enc format.Encoder, to target, mode syncMode, every time.Duration) *Sink {
	return &Sink{enc: enc, to: to, mode: mode, every: every, most: syncRecords}
}

// Exclusive returns the file. Devices can be shared.
func (k *Sink) Exclusive() string {
	switch path := k.to.status().Path; {
	case path == "":
		return "standard output"
	case strings.HasPrefix(path, "/dev/"):
		return ""
	default:
		return "file " + path
	}
}

// Status returns a [Status].
func (k *Sink) Status() any { return k.to.status() }

// Reopen makes the sink open its path anew, as after a log rotation by another program: before the next write, or at once if
// it is idle.
func (k *Sink) Reopen() {
	k.to.reopen()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wake != nil {
		k.wake()
	}
}

// Run writes until ctx ends, the stream is drained, or something fails.
func (k *Sink) Run(ctx context.Context, s sdk.Stream) (err error) {
	if err := k.to.open(time.Now()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.to.close()) }()
	defer k.to.background()()
	defer interruptAt(ctx, k.to)()

	r := &run{Sink: k, stream: s, enc: k.enc, fresh: true}
	if k.tellEpoch {
		r.enc = format.ForStream(k.enc, s.Epoch())
	}
	r.preface, _ = r.enc.(format.Prefacer)
	if n, ok := s.(sdk.DrainNotifier); ok {
		r.ending = n.Draining()
	}
	r.newWait(ctx)
	defer k.setWake(nil)
	err = r.loop(ctx)
	// What is in the file is worth an acknowledgement, whatever ended the loop.
	return errors.Join(err, r.settle())
}

func (k *Sink) setWake(wake context.CancelFunc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wake != nil {
		k.wake()
	}
	k.wake = wake
}

// run is one call of Run.
type run struct {
	*Sink
	stream sdk.Stream
	wait   context.Context // ctx, or an earlier end by Reopen
	names  *event.Names

	enc     format.Encoder  // for this stream
	preface format.Prefacer // enc, if its files have prefaces
	ending  <-chan struct{} // closed when the pipeline begins to stop; nil if that is not told
	fresh   bool            // nothing was written to the file that is open
	first   *event.Names    // of the first record in buf

	buf   []byte // encoded, not yet written
	marks []mark // where its records end

	last    event.Seq // the last record that is whole in the target
	unacked struct {  // written behind the last acknowledged record
		bytes   int64
		records int
		since   time.Time
	}
}

type mark struct {
	end int
	seq event.Seq
}

func (r *run) newWait(ctx context.Context) {
	wait, wake := context.WithCancel(ctx)
	r.wait = wait
	r.setWake(wake)
}

func (r *run) loop(ctx context.Context) error {
	for {
		b, err := r.stream.Next(r.wait, r.patience())
		for records := b.Records; len(records) > 0; {
			n, err := r.add(records)
			if err != nil {
				return err
			}
			records = records[n:]
		}
		wrote := false
		if b.Len() == 0 {
			wrote = len(r.buf) > 0
			if err := r.flush(); err != nil {
				return err
			}
		}
		if err := r.settleIfDue(); err != nil {
			return err
		}
		if wrote && r.pause > 0 {
			r.rest()
		}
		switch {
		case err == nil:
		case errors.Is(err, sdk.ErrDrained):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case r.wait.Err() != nil: // Reopen
			r.newWait(ctx)
			if err := r.prepare(0); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// rest lets records collect in the ring. A sink that asks for each few of them has to be woken for each few of them, which
// costs the worker more than to make them.
func (r *run) rest() {
	t := time.NewTimer(r.pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.ending:
	case <-r.wait.Done():
	}
}

// patience is how long to wait for more records: not at all while some are collected, until the next sync while some are not
// on the disk.
func (r *run) patience() time.Duration {
	switch {
	case len(r.buf) > 0:
		return 0
	case r.unacked.records > 0:
		return max(0, time.Until(r.unacked.since.Add(r.every)))
	default:
		return -1
	}
}

// add encodes records of one generation, at least the first and at most as many as a write takes, and returns how many those were.
func (r *run) add(records []event.Record) (n int, err error) {
	generation := records[0].Generation
	r.use(generation)
	if len(r.buf) == 0 {
		r.first = r.names
	}
	buf, marks, names, terminator := r.buf, r.marks, r.names, r.enc.Terminator()
	for {
		rec := &records[n]
		buf = r.enc.Append(buf, rec, names)
		buf = append(buf, terminator...)
		marks = append(marks, mark{len(buf), rec.Seq()})
		n++
		// A preface is never the end of a write: its first record is there, however long the two make it.
		if n == len(records) || len(buf) >= writeSize || records[n].Generation != generation {
			break
		}
	}
	r.buf, r.marks = buf, marks
	if len(buf) < writeSize {
		return n, nil
	}
	if err := r.flush(); err != nil {
		return n, err
	}
	return n, r.settleIfDue()
}

// use makes the names of a generation those of the records that follow.
func (r *run) use(generation uint32) {
	if r.names != nil && r.names.Generation == generation {
		return
	}
	r.names = r.stream.Names(generation)
	if r.preface != nil && len(r.buf) > 0 {
		r.buf = r.preface.AppendPreface(r.buf, r.names)
	} else {
		r.fresh = true
	}
}

// prepare lets the target change files if it wants to. What is in the old one is settled first: afterwards it is out of reach.
func (r *run) prepare(n int) error {
	now := time.Now()
	first := r.to.turn(now, n)
	if first == nil {
		return nil
	}
	if err := r.settle(); err != nil {
		return err
	}
	r.fresh = true
	return first(now)
}

// addPreface puts the preface of a file that is new to this run before what is collected.
func (r *run) addPreface() {
	if !r.fresh || r.preface == nil {
		return
	}
	r.fresh = false
	b := r.preface.AppendPreface(nil, r.first)
	for i := range r.marks {
		r.marks[i].end += len(b)
	}
	r.buf = slices.Insert(r.buf, 0, b...)
}

// flush writes what is collected. After an error the whole records that were written count as written and the torn one is
// taken back.
func (r *run) flush() error {
	if len(r.buf) == 0 {
		return nil
	}
	if err := r.prepare(len(r.buf)); err != nil {
		return err
	}
	r.addPreface()
	n, err := r.to.write(r.buf)
	records, _ := slices.BinarySearchFunc(r.marks, n+1, func(m mark, n int) int { return m.end - n })
	whole := 0
	if records > 0 {
		whole = r.marks[records-1].end
		r.last = r.marks[records-1].seq
		r.unacked.bytes += int64(whole)
		if r.unacked.records == 0 {
			r.unacked.since = time.Now()
		}
		r.unacked.records += records
	}
	if n > whole {
		if tearErr := r.to.tear(n-whole, r.buf[n:r.marks[records].end]); tearErr != nil {
			err = errors.Join(err, fmt.Errorf("file: cannot take back half a record: %w", tearErr))
		}
	}
	r.buf, r.marks = r.buf[:0], r.marks[:0]
	return err
}

func (r *run) settleIfDue() error {
	u := &r.unacked
	if u.records == 0 || r.mode == syncInterval && u.records < r.most && time.Since(u.since) < r.every {
		return nil
	}
	return r.settle()
}

// settle makes what was written durable, as the mode demands, and acknowledges it.
func (r *run) settle() error {
	u := r.unacked
	if u.records == 0 {
		return nil
	}
	r.unacked.records, r.unacked.bytes = 0, 0
	if r.mode != syncNone {
		if err := r.to.sync(); err != nil {
			// They will be handed out again, so they must not stay. Only if they cannot be cut off they will be there twice.
			return errors.Join(err, r.to.cut(u.bytes))
		}
	}
	return r.stream.Ack(r.last)
}
