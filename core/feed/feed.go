// Package feed is the loop of a pipeline's sources of events: it reads what somebody else's firewall has done, finds its zones
// and names, joins rules to the sessions that they let through, and offers it to the gate.
//
// It knows no concrete sources, no rings and no sinks, and decodes nothing.
package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/monotonic"
	"github.com/rtflow/pipelined/internal/pace"
)

// Names gives ids to the names of rules. It is used by one goroutine.
type Names interface {
	// Policy returns the id of the policy of that name; the same name has the same id. 0 if there is no room for it.
	Policy(name string) uint32
	// Filter returns the id of a filter of that name, whose only term has that name, too.
	Filter(name string) uint32
	// Publish makes the names known that were added since the last call, and returns the generation that knows them.
	Publish() (generation uint32)
}

// Config is what a feed is built from.
type Config struct {
	Streams []Stream
	Gate    *admission.Gate
	Lane    int         // of the gate
	Zones   *zone.Table // until SetZones
	Apps    *application.Table
	Names   Names
	// AwaitsSessions says that none of the streams tells of sessions just now, and that one will: of the feed that succeeds.
	AwaitsSessions bool
}

// Stream is the events of one source.
type Stream struct {
	Name string // of the source
	source.EventStream
}

const (
	// idle is how long a feed waits for events before it looks after losses.
	idle = time.Second
	// maxReads is how many batches a feed reads from a stream before it looks at the others: a flood from one of them is read
	// on in the next pass.
	maxReads = 64
	// pause is how long a feed leaves busy streams alone. The Go runtime keeps a thread busy for a millisecond after each pause, which
	// costs more than reading what has come.
	pause = 5 * time.Millisecond
)

// Feed carries the events of all streams of a pipeline.
type Feed struct {
	Config
	clock    monotonic.Clock
	zones    atomic.Pointer[zone.Table] // stored by SetZones
	lane     *admission.Lane
	waiter   *waiter
	pace     pace.Pace
	carried  bool      // something, in this pass
	sessions []*reader // that keep sessions
	others   []*reader
	joins    *joins // nil: nobody tells of rules that let sessions through, or there are no sessions
	events   []admission.Event
	openings []opening   // by unanswered open record among events
	nothing  source.Kept // of sessions that their source has no room for
	renamed  bool        // there may be names that are not published
	now      int64
	wall     int64
	counts   counts

	published published
}

// reader is a stream and what was read of it last.
type reader struct {
	Stream
	lister source.SessionLister // nil: it keeps none
	batch  *source.EventBatch
	again  time.Duration // until the next Read, see [source.EventStream]
	err    error         // what ended it
}

// New returns a feed. It does nothing until Run.
func New(c Config) (*Feed, error) {
	clock, err := monotonic.New()
	if err != nil {
		return nil, err
	}
	f := &Feed{
		Config: c, clock: clock, pace: pace.Pace{Pause: pause},
		events:   make([]admission.Event, 0, admission.MaxBatch),
		openings: make([]opening, 0, admission.MaxBatch),
	}
	for _, s := range c.Streams {
		r := &reader{Stream: s, batch: new(source.EventBatch)}
		if r.lister, _ = s.EventStream.(source.SessionLister); r.lister != nil {
			f.sessions = append(f.sessions, r)
		} else {
			f.others = append(f.others, r)
		}
	}
	if len(f.sessions) > 0 && len(f.others) > 0 {
		f.joins = newJoins()
	}
	f.zones.Store(c.Zones)
	return f, nil
}

// Succeed takes over what a feed has counted that has ended, and the rules that wait for their sessions, if it reads sessions, too, or awaits
// them. It is called before Run.
func (f *Feed) Succeed(former *Feed) {
	f.counts = former.counts
	f.publish()
	if (f.joins != nil || f.AwaitsSessions) && former.joins != nil {
		f.joins = former.joins
	}
}

// SetZones gives the feed another table of zones, which it looks into from its next pass on. Safe for concurrent use.
func (f *Feed) SetZones(zones *zone.Table) { f.zones.Store(zones) }

// Run carries events until every stream has ended (nil), one fails (its error) or ctx ends (nil); then those that have come until
// then. It announces every loss before it returns.
func (f *Feed) Run(ctx context.Context) error {
	err := f.begin(ctx)
	if err != nil {
		return err
	}
	paused, woken := false, false
	for err == nil && ctx.Err() == nil {
		var wait time.Duration
		wait, err = f.pass()
		f.published.beats.Add(1)
		f.pace.Waited(paused, f.now, woken || f.carried)
		paused, woken = false, false
		if err == nil && wait > 0 {
			paused, wait = f.pace.Wait(wait)
			woken, err = f.waiter.wait(wait, paused)
		}
	}
	if err == nil {
		_, err = f.pass() // what has come until then is told, also of a source that is taken away
	}
	f.lane.Finish(f.now, f.wall)
	if closeErr := f.waiter.close(); closeErr != nil {
		err = errors.Join(err, closeErr)
	}
	if errors.Is(err, io.EOF) || ctx.Err() != nil {
		return nil
	}
	return err
}

// begin prepares the first pass.
func (f *Feed) begin(ctx context.Context) (err error) {
	f.lane = f.Gate.Lane(ctx, f.Lane)
	f.waiter, err = newWaiter(ctx, f.Streams)
	return err
}

// pass reads every stream and carries what came. It returns how long it may wait for more, and [io.EOF] if all streams have
// ended.
func (f *Feed) pass() (wait time.Duration, err error) {
	f.now, f.wall = f.clock.Read()
	f.lane.Sync()
	f.Zones = f.zones.Load()
	f.carried = false
	for _, r := range f.sessions {
		f.read(r)
	}
	for _, r := range f.others {
		for range maxReads {
			f.read(r)
			f.carryAll(r)
			if r.again != 0 || r.err != nil {
				break
			}
		}
	}
	for _, r := range f.sessions {
		f.carryAll(r)
	}
	f.lane.Flush(f.now, f.wall, nil)
	f.publish()
	return f.next()
}

// read reads one batch.
func (f *Feed) read(r *reader) {
	if r.err != nil {
		r.batch.N = 0
		return
	}
	if r.again, r.err = r.Read(r.batch, f.now, f.wall); r.err != nil {
		f.waiter.forgetFD(r.FD())
	}
}

// next returns what [Feed.pass] returns.
func (f *Feed) next() (wait time.Duration, err error) {
	wait = idle
	ended := 0
	for _, readers := range [...][]*reader{f.sessions, f.others} {
		for _, r := range readers {
			switch {
			case errors.Is(r.err, io.EOF):
				ended++
			case r.err != nil:
				return 0, fmt.Errorf("source %s: %w", r.Name, r.err)
			case r.again >= 0:
				wait = min(wait, r.again)
			}
		}
	}
	if ended == len(f.sessions)+len(f.others) {
		return 0, io.EOF
	}
	return wait, nil
}

// carryAll carries what was read of a stream last, to the rings: nothing of it waits for the next flush, since what is kept
// with the sessions is valid no longer.
func (f *Feed) carryAll(r *reader) {
	if r.batch.N == 0 {
		return
	}
	f.carried = true
	if r.lister != nil {
		r.lister.Lock()
		defer r.lister.Unlock()
	}
	for i := range r.batch.Events[:r.batch.N] {
		f.carry(&r.batch.Events[i])
	}
	f.flush()
}
