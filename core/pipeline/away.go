package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
)

// The pauses between attempts to open a source that is away: each is longer than the one before.
const (
	firstReopen = time.Second
	lastReopen  = time.Minute
)

// awaySource is a source of the configuration that is closed: while it is opened again, or since that failed.
type awaySource struct {
	*openSource           // as it was; it still knows the sessions that it has told of
	since       time.Time // nothing was read from then on
	err         error     // why it is not open; nil: it is being opened
	attempts    int       // to open it as it was, that failed
}

// AwayStatus is what the status says of a source that is closed: while it is opened again, or since that failed.
type AwayStatus struct {
	Open     bool      `json:"open"`            // false
	Since    time.Time `json:"since"`           // nothing was read from then on
	Error    string    `json:"error,omitempty"` // why it cannot be opened; empty: it is being opened
	Attempts int       `json:"attempts"`        // to open it as it was, that failed
}

// errNoRoom is the error of a source that a reload can open, and an attempt cannot.
var errNoRoom = errors.New("only a reload makes room for them")

func (s *awaySource) status() AwayStatus {
	st := AwayStatus{Since: s.since, Attempts: s.attempts}
	if s.err != nil {
		st.Error = s.err.Error()
	}
	return st
}

// failed returns the source with the reason why it is not open.
func (s *awaySource) failed(err error) *awaySource {
	return &awaySource{s.openSource, s.since, err, s.attempts + 1}
}

// retries reports whether attempts to open the source may help.
func (s *awaySource) retries() bool { return s.err != nil && !errors.Is(s.err, errNoRoom) }

// hope says what opens the source again.
func (s *awaySource) hope() string {
	if s.retries() {
		return "it is tried again"
	}
	return "each reload tries again"
}

// awaitAway has sources that are away opened again.
func (pl *Pipeline) awaitAway() {
	select {
	case pl.unopened <- struct{}{}:
	default:
	}
}

// reopen opens sources that are away whenever there are some, until ctx ends.
func (pl *Pipeline) reopen(ctx context.Context) {
	for {
		select {
		case <-pl.unopened:
		case <-ctx.Done():
			return
		}
		pause := backoff.NewExponentialBackOff()
		pause.InitialInterval, pause.MaxInterval = firstReopen, lastReopen
		for again := true; again; {
			timer := time.NewTimer(pause.NextBackOff())
			select {
			case <-timer.C:
				again = pl.openAway()
			case <-pl.unopened: // more
				pause.Reset()
			case <-ctx.Done():
				again = false
			}
			timer.Stop()
		}
	}
}

// openAway tries to open the sources that are away, and reports whether it is to be tried again.
func (pl *Pipeline) openAway() (again bool) {
	if !pl.reloading.TryLock() { // a reload opens them itself
		return true
	}
	defer pl.reloading.Unlock()
	before := pl.readers.Load()
	var tried, others []*awaySource
	for _, s := range before.away {
		if s.retries() {
			tried = append(tried, s)
		} else {
			others = append(others, s)
		}
	}
	if len(tried) == 0 || pl.stops() {
		return false
	}
	back, kept, away := pl.openAgain(tried, pl.now().Zones)
	if !pl.hold() {
		for _, s := range back {
			if err := s.close(); err != nil {
				pl.log.Warn("a source does not close", "err", err)
			}
		}
		return false
	}
	defer pl.release()
	away, err := pl.readAgain(tried, back, slices.Concat(others, away))
	if err != nil {
		pl.log.Error("a source that is open again cannot be read", "err", err)
	}
	for _, s := range tried {
		gap := time.Since(s.since)
		if still, is := named(away, s.Name); is {
			level := slog.LevelDebug
			if still.err.Error() != s.err.Error() {
				level = slog.LevelError
			}
			pl.log.Log(context.Background(), level, "a source still cannot be opened; "+still.hope(), //nolint:sloglint // one of two sentences
				"source", s.Name, "err", still.err, "gap", gap, "attempts", still.attempts)
			again = again || still.retries()
			continue
		}
		pl.log.Warn("a source that could not be opened is open, as it was: what came meanwhile is not read", "source", s.Name, "gap", gap)
		if !slices.Contains(kept, s) {
			pl.tellUntold(s.openSource, func(*output) bool { return false })
		}
	}
	return again
}

// openAgain opens sources as they were. It returns those that are open, and pairs if they are to be, the former ones whose sessions they go on
// with, and those that could not be opened.
func (pl *Pipeline) openAgain(gone []*awaySource, zones *zone.Table) (opened []*openSource, kept, away []*awaySource) {
	errs := make(map[string]error)
	for _, s := range gone {
		again, err := pl.open(pl.untilStop(), s.Source, zones)
		if err != nil {
			errs[s.Name] = err
			continue
		}
		opened = append(opened, again)
		if len(again.queues) > len(s.queues) { // hooks have no room for their workers
			errs[s.Name] = fmt.Errorf("source %s: it has %d queues now, and had %d: %w", s.Name, len(again.queues), len(s.queues), errNoRoom)
		}
		if pl.goOn(again, s) {
			kept = append(kept, s)
		}
	}
	for _, s := range opened {
		if s.Peer == "" || errs[s.Name] != nil {
			continue
		}
		peer, is := named(opened, s.Peer)
		if !is || errs[s.Peer] != nil {
			errs[s.Name] = fmt.Errorf("source %s: its peer %s is not open: %w", s.Name, s.Peer, errs[s.Peer]) // nor is it tried again without that
		} else if err := s.opened.(source.Paired).Pair(peer.opened); err != nil {
			errs[s.Name] = fmt.Errorf("source %s: %w", s.Name, err)
			errs[peer.Name] = fmt.Errorf("source %s: its peer %s is not open: %w", peer.Name, s.Name, errs[s.Name])
		}
	}
	for _, s := range gone {
		err := errs[s.Name]
		if err == nil {
			continue
		}
		if i := slices.IndexFunc(opened, func(o *openSource) bool { return o.Name == s.Name }); i >= 0 {
			err = errors.Join(err, opened[i].close())
			opened = slices.Delete(opened, i, i+1)
		}
		away = append(away, s.failed(err))
	}
	return opened, kept, away
}

// readAgain has sources read that were opened again, of those that were tried, beside those that are read, and returns which are away. If they
// cannot be read, they are closed, and away, too. The pipeline is kept from ending.
func (pl *Pipeline) readAgain(tried []*awaySource, opened []*openSource, away []*awaySource) ([]*awaySource, error) {
	running, now := pl.rules.Load(), pl.readers.Load()
	zones := running.plan.Zones
	var list []*openSource
	for i := range running.plan.Sources {
		name := running.plan.Sources[i].Name
		s, reads := named(now.sources, name)
		if !reads {
			s, reads = named(opened, name)
		}
		if reads {
			list = append(list, s)
		}
	}
	x, err := pl.newExchange(list, away, zones)
	if err == nil {
		if err = x.end(); err != nil {
			pl.revive()
			now = pl.readers.Load()
		}
	}
	if err == nil {
		pl.exchange(x, running.judged, zones)
		return away, nil
	}
	for _, s := range tried {
		if again, is := named(opened, s.Name); is {
			away = append(away, s.failed(err))
			err = errors.Join(err, again.close())
		}
	}
	pl.exchange(&exchange{before: now, list: now.sources, away: away}, running.judged, zones)
	return away, err
}
