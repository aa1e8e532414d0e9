package syslog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// How often a connection is asked for what is acknowledged, while something is not and nothing else happens.
const (
	firstPoll = time.Millisecond
	lastPoll  = 50 * time.Millisecond
)

// run is one call of Run.
type run struct {
	*Sink
	ctx    context.Context
	stream sdk.Stream
	enc    format.Encoder
	names  *event.Names
	msg    []byte

	handed  event.Seq // the last record that every address that is connected was given
	acked   event.Seq
	poll    time.Duration
	helpers sync.WaitGroup     // goroutines that dial
	stop    context.CancelFunc // ends them
	dialing context.Context
	back    chan comeback // addresses that can be used again

	mu       sync.Mutex
	wait     context.Context // ctx, or an earlier end by wake
	wakeWait context.CancelFunc
}

// comeback is a connection to an address that could not be had before.
type comeback struct {
	link *link
	conn conn
}

func (k *Sink) newRun(ctx context.Context, s sdk.Stream) (*run, error) {
	o := k.format
	o.Epoch = s.Epoch()
	enc, err := format.New(o)
	if err != nil {
		return nil, fmt.Errorf("syslog: %w", err) // the options were checked; the epoch is a number
	}
	r := &run{Sink: k, ctx: ctx, stream: s, enc: enc, poll: firstPoll, back: make(chan comeback, len(k.links))}
	r.dialing, r.stop = context.WithCancel(ctx)
	r.renew()
	if k.epoch != s.Epoch() { // positions are those of one stream
		k.epoch = s.Epoch()
		for _, l := range k.links {
			l.acked, l.highest, l.refused.seq = 0, 0, 0
			l.search.stop()
		}
	}
	return r, nil
}

// renew makes a new wait, and ends the old one.
func (r *run) renew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wakeWait != nil {
		r.wakeWait()
	}
	r.wait, r.wakeWait = context.WithCancel(r.ctx)
}

// wake makes the loop look at its connections. Safe for concurrent use.
func (r *run) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wakeWait()
}

// end takes down what is left of the run.
func (r *run) end() {
	r.stop()
	r.helpers.Wait()
	close(r.back)
	for c := range r.back {
		c.conn.drop()
	}
	r.wake()
}

// loop takes records until something ends it: nil when the stream is drained and everything is acknowledged.
func (r *run) loop() error {
	for {
		b, err := r.stream.Next(r.wait, r.patience())
		if err := r.add(b.Records); err != nil {
			return err
		}
		if b.Len() == 0 {
			if err := r.flush(); err != nil {
				return err
			}
		}
		if err := r.settle(); err != nil {
			return err
		}
		switch {
		case err == nil:
		case errors.Is(err, sdk.ErrDrained):
			return r.drain()
		case r.ctx.Err() != nil:
			return r.ctx.Err()
		case r.wait.Err() != nil:
			r.renew()
		default:
			return err
		}
		if err := r.look(); err != nil {
			return err
		}
	}
}

// patience is how long to wait for more records: not at all while some are collected, a little while some are not
// acknowledged.
func (r *run) patience() time.Duration {
	unacked := false
	for _, l := range r.links {
		if !l.up() {
			continue
		}
		if len(l.buf) > 0 {
			return 0
		}
		unacked = unacked || l.marks.len() > 0
	}
	if !unacked {
		return -1
	}
	p := r.poll
	r.poll = min(2*r.poll, lastPoll)
	return p
}

// add gives records to every address that is connected and does not have them.
func (r *run) add(records []event.Record) error {
	for len(records) > 0 {
		rec := &records[0]
		if r.names == nil || r.names.Generation != rec.Generation {
			r.names = r.stream.Names(rec.Generation)
		}
		n, err := 1, error(nil)
		if l := r.only(rec.Seq()); l != nil {
			n, err = r.addMany(l, records)
		} else {
			err = r.addOne(records[:1])
		}
		if err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// only returns the address that gets all records from seq on, in messages of its own; nil if there is something to decide for each.
func (r *run) only(seq event.Seq) *link {
	if r.strategy == all {
		return nil
	}
	for _, l := range r.links {
		if l.up() {
			if l.search.on || l.refused.seq >= seq && l.givenUp(l.refused.seq) {
				return nil
			}
			return l
		}
	}
	return nil
}

// addMany gives records of one generation to the one address that is in use, the first and perhaps more, and returns how many.
func (r *run) addMany(l *link, records []event.Record) (n int, err error) {
	if err := r.makeRoom(l); err != nil {
		return 0, err
	}
	n = l.frame(records, r.enc, r.names)
	r.handed = records[n-1].Seq()
	return n, r.sendMuch(l)
}

// addOne gives a record, the only one of records, to the addresses that are to have it.
func (r *run) addOne(records []event.Record) error {
	rec := &records[0]
	seq := rec.Seq()
	r.msg = r.enc.Append(r.msg[:0], rec, r.names)
	for _, l := range r.links {
		if !l.up() || r.strategy == all && seq <= l.acked {
			continue
		}
		if l.givenUp(seq) {
			r.reject(l, seq)
			continue
		}
		if l.search.holds(seq) {
			l.hold(seq)
			continue
		}
		if err := r.makeRoom(l); err != nil {
			return err
		}
		if !l.up() {
			continue
		}
		l.frameCopy(records, r.msg)
		if err := r.sendMuch(l); err != nil {
			return err
		}
	}
	r.handed = seq
	return nil
}

// reject gives up the record whose message is in r.msg, and says which that is.
func (r *run) reject(l *link, seq event.Seq) {
	if !l.refused.told {
		l.refused.told = true
		r.warn("a record is given up: the collector takes others, and not this one", "address", l.address.String(),
			"why", l.refused.why, "times", l.refused.times, "record", string(r.msg))
	}
	r.stream.Reject(seq, l.refused.why)
	l.skip(seq)
}

// makeRoom waits until another record may be framed for an address, or until it is lost.
func (r *run) makeRoom(l *link) error {
	for l.up() && l.full() {
		if err := r.waitRoom(l); err != nil {
			return err
		}
	}
	return nil
}

// sendMuch sends what is framed for an address when that is much.
func (r *run) sendMuch(l *link) error {
	if len(l.buf) < writeSize {
		return nil
	}
	if err := l.flush(time.Now()); err != nil {
		return r.lost(l, err)
	}
	return r.settle()
}

// waitRoom waits until an address that has as many records on their way as it may has acknowledged one, or is lost.
func (r *run) waitRoom(l *link) error {
	if err := l.flush(time.Now()); err != nil {
		return r.lost(l, err)
	}
	for pause := firstPoll; ; pause = min(2*pause, lastPoll) {
		if err := r.settle(); err != nil || !l.up() || !l.full() {
			return err
		}
		if err := r.sleep(pause, l.conn.changed()); err != nil {
			return err
		}
		if err := r.lookForFailures(); err != nil || !l.up() {
			return err
		}
	}
}

// sleep waits for a time, for news, or until it is woken.
func (r *run) sleep(d time.Duration, news <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-news:
	case <-r.wait.Done():
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		r.renew()
	}
	return nil
}

// flush sends everything that is framed.
func (r *run) flush() error {
	now := time.Now()
	for _, l := range r.links {
		if !l.up() || len(l.buf) == 0 {
			continue
		}
		r.poll = firstPoll
		if err := l.flush(now); err != nil {
			if err := r.lost(l, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// drain ends a run whose stream has no more records.
func (r *run) drain() error {
	if err := r.await(time.Time{}); err != nil {
		return err
	}
	var errs []error
	for _, l := range r.links {
		if r.strategy == all && !l.up() && l.acked < r.handed {
			errs = append(errs, fmt.Errorf("syslog: %s lacks records and is down: %s", l.address, l.status().Error))
		}
	}
	r.leaveAll()
	return errors.Join(errs...)
}

// look reacts to connections that broke by themselves, and to addresses that are back. The latter must not be in the middle of
// a record: an address that comes in then would be counted as having it.
func (r *run) look() error {
	if err := r.lookForFailures(); err != nil {
		return err
	}
	select {
	case c := <-r.back:
		return r.comeBack(c)
	default:
		return nil
	}
}

func (r *run) lookForFailures() error {
	for _, l := range r.links {
		if !l.up() {
			continue
		}
		if err := l.conn.failed(); err != nil {
			if err := r.lost(l, err); err != nil {
				return err
			}
		}
	}
	return nil
}
