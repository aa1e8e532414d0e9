package syslog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// Sink sends records to collectors.
type Sink struct {
	format      format.Options
	strategy    strategy
	links       []*link
	limits      limits
	returnAfter time.Duration
	warn        func(msg string, args ...any)
	counts      counts

	// These outlive a run and are for its goroutine.
	epoch uint64
	using int // which of several addresses, strategy failover
}

var (
	_ sdk.Sink            = (*Sink)(nil)
	_ sdk.Reporter        = (*Sink)(nil)
	_ sdk.CounterReporter = (*Sink)(nil)
)

// Run sends until ctx ends, the stream is drained, or no address is left.
func (k *Sink) Run(ctx context.Context, s sdk.Stream) error {
	r, err := k.newRun(ctx, s)
	if err != nil {
		return err
	}
	defer r.end()
	if err = r.connect(); err == nil {
		err = r.loop()
	}
	for _, l := range r.links {
		if l.up() {
			_, _ = l.settle(time.Now()) // the run ends already
			l.lose(err)
		}
	}
	// What the peers have is worth an acknowledgement, whatever ended the loop.
	return errors.Join(err, r.acknowledgeLast())
}

// acknowledgeLast acknowledges what is known to have arrived when the connections are gone.
func (r *run) acknowledgeLast() error {
	through := event.Seq(0)
	for i, l := range r.links {
		if i == 0 || r.strategy == failover {
			through = max(through, l.acked)
		} else {
			through = min(through, l.acked)
		}
	}
	if through = min(through, r.handed); through <= r.acked {
		return nil
	}
	return r.stream.Ack(through)
}

// connect opens the connections that the run begins with.
func (r *run) connect() error {
	if r.strategy == all && len(r.links) > 1 {
		return r.connectAll()
	}
	var errs []error
	for _, i := range r.byPromise(time.Now()) {
		l := r.links[i]
		c, err := r.dial(r.ctx, l)
		if err != nil {
			if r.ctx.Err() != nil {
				return r.ctx.Err()
			}
			errs = append(errs, err)
			continue
		}
		r.attach(l, c)
		for _, before := range r.links[:i] {
			errs = append(errs, before.rest.why)
		}
		r.use(i, errors.Join(errs...))
		return nil
	}
	return errors.Join(errs...)
}

func (r *run) attach(l *link, c conn) {
	l.attach(r.ctx, c, func() {
		_ = r.acknowledge() // an error will come up again
	})
}

// use notes which of several addresses is in use. Those before it are tried again.
func (r *run) use(i int, because error) {
	if r.using != i {
		r.using = i
		if address := r.links[i].address.String(); because != nil {
			r.warn("another address is used", "address", address, "error", because)
		} else {
			r.warn("an address is back and is used", "address", address)
		}
	}
	if i > 0 {
		r.helpers.Go(func() { r.seekBetter(i) })
	}
}

// dial opens a connection to an address.
func (r *run) dial(ctx context.Context, l *link) (conn, error) {
	l.show(Connecting, nil)
	c, err := l.dialer.dial(ctx, r.wake)
	if err == nil {
		return c, nil
	}
	err = fmt.Errorf("syslog: %s: %w", l.address, err)
	if ctx.Err() != nil {
		l.show(Standby, nil) // the attempt was called off
		return nil, err
	}
	r.counts.connectErrors.Add(1)
	l.show(Down, func(s *AddressStatus) { s.Error = err.Error() })
	return nil, err
}

// seekBetter looks every now and then whether one of the addresses before that one can be used again, but those that rest.
func (r *run) seekBetter(than int) {
	ticker := time.NewTicker(r.returnAfter)
	defer ticker.Stop()
	for {
		select {
		case <-r.dialing.Done():
			return
		case <-ticker.C:
		}
		for _, l := range r.links[:than] {
			if !l.rest.over(time.Now()) {
				continue
			}
			c, err := r.dial(r.dialing, l)
			if err == nil && r.stands(l, c) {
				r.back <- comeback{l, c}
				r.wake()
				return
			}
		}
	}
}

// stands reports whether a new connection to an address that was left stands for a moment. One that ends at once must not cost
// the connection that works; it is closed, and its address rests.
func (r *run) stands(l *link, c conn) bool {
	t := time.NewTimer(trustAfter)
	defer t.Stop()
	tick := time.NewTicker(lastPoll)
	defer tick.Stop()
	for {
		select {
		case <-t.C:
			return true
		case <-r.dialing.Done():
			c.drop()
			l.show(Standby, nil)
			return false
		case <-tick.C:
		}
		if err := c.failed(); err != nil {
			c.drop()
			err = fmt.Errorf("syslog: %s: %w", l.address, err)
			l.rest.begin(time.Now(), r.returnAfter, err)
			l.hasty = !c.answers()
			r.counts.disconnects.Add(1)
			l.show(Down, func(s *AddressStatus) { s.Error = err.Error() })
			return false
		}
	}
}

// connectAll opens connections to all addresses and returns as soon as there is one, and the others have had a moment. What
// comes later is a comeback.
func (r *run) connectAll() error {
	const moment = time.Second
	failed := make(chan error, len(r.links))
	for _, l := range r.links {
		r.helpers.Go(func() {
			c, err := r.dial(r.dialing, l)
			if err == nil {
				r.back <- comeback{l, c}
				r.wake()
				return
			}
			failed <- err
			r.seek(l)
		})
	}
	t := time.NewTimer(moment)
	defer t.Stop()
	var errs []error
	for late := t.C; len(errs) < len(r.links); {
		select {
		case c := <-r.back:
			r.attach(c.link, c.conn)
		case err := <-failed:
			errs = append(errs, err)
		case <-late:
			late = nil
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
		if up := r.countUp(); up > 0 && (late == nil || up+len(errs) == len(r.links)) {
			r.tellDown()
			return nil
		}
	}
	return errors.Join(errs...)
}

// tellDown warns of addresses that are down, of each once.
func (r *run) tellDown() {
	for _, l := range r.links {
		if st := l.status(); st.State == Down && !l.told {
			l.told = true
			r.warn("an address is down; what it lacks waits in the ring", "address", st.Address, "error", st.Error)
		}
	}
}

// lost takes an address out after an error. The error comes back if the run cannot go on without it.
func (r *run) lost(l *link, err error) error {
	err = fmt.Errorf("syslog: %s: %w", l.address, err)
	now := time.Now()
	_, _ = l.settle(now) // an error comes up again
	worked := l.worked(err, now)
	if r.ctx.Err() == nil {
		l.ended(err, now)
	}
	l.lose(err)
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	r.counts.disconnects.Add(1)
	if r.strategy == failover {
		l.judge(worked, now, r.returnAfter, err)
	}
	if r.strategy == failover || r.countUp() == 0 {
		return err
	}
	r.tellDown()
	r.helpers.Go(func() { r.seek(l) })
	return nil
}

// seek tries to reach an address until that works.
func (r *run) seek(l *link) {
	for {
		t := time.NewTimer(l.pause.grow(l.acked))
		select {
		case <-r.dialing.Done():
			t.Stop()
			return
		case <-t.C:
		}
		if c, err := r.dial(r.dialing, l); err == nil {
			r.back <- comeback{l, c}
			r.wake()
			return
		}
	}
}

// comeBack goes over to an address that can be used again.
func (r *run) comeBack(c comeback) error {
	if err := r.await(time.Now().Add(r.limits.close)); err != nil {
		c.conn.drop()
		return err
	}
	if r.strategy == all && c.link.acked < r.handed {
		// It lacks records that the others have: only a new run begins with the first of them.
		c.conn.drop()
		r.leaveAll()
		return fmt.Errorf("syslog: %s is back: starting again with the first record that it lacks", c.link.address)
	}
	if r.strategy == failover {
		r.leaveAll()
	}
	r.attach(c.link, c.conn)
	if r.strategy == failover {
		r.use(slices.Index(r.links, c.link), nil)
	}
	return nil
}

// leaveAll ends the connections in order.
func (r *run) leaveAll() {
	for _, l := range r.links {
		if !l.up() {
			continue
		}
		if err := l.leave(); err != nil {
			// Everything is acknowledged: how the connection ends matters to nobody but the operator.
			r.warn("the connection did not end in order", "address", l.address.String(), "error", err)
		}
	}
}
