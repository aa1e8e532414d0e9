package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// plan is a schedule: everything that a seed decides.
type plan struct {
	seed       uint64
	lanes      int
	zones      int
	live       int // sessions that have begun before
	rate       admission.Rate
	sinks      []sinkPlan
	steps      []step
	concurrent bool // workers flush at the same instant
	ending     ending
	drain      time.Duration // how long the end may take
}

// ending is how a schedule ends.
type ending uint8

const (
	orderly ending = iota // everything is repaired, and delivered
	cut                   // the drain's deadline comes while things are as they are
	now                   // at once
)

// sinkPlan is a sink and its receiver.
type sinkPlan struct {
	limits   replay.Limits
	overflow replay.Overflow
	only     event.KindSet
	delta    bool
	silence  time.Duration
	waits    bool // for a receiver to come, as a sink that listens does; or fails, as one that dials
	keeps    keeps
	ackEvery time.Duration
	slow     time.Duration // what the receiver takes for a record, at most
	pace     time.Duration // what it takes for each frame, of a record or of the table
	data     weather
	control  weather
	trouble  trouble
}

// keeps says what a receiver program has stored when it is killed.
type keeps uint8

const (
	keepsAll     keeps = iota // every record and the position are noted at once
	keepsCommits              // what is handed out is safe once it is committed, and the position with it
	keepsNothing              // it begins again with whatever comes
)

// trouble is what a receiver is from the first to the last.
type trouble uint8

const (
	various  trouble  = iota // what the steps make of it
	none                     // well, quick, and its ring holds everything: it must not notice the others
	absent                   // never there
	deaf                     // reads nothing
	mute                     // its acknowledgements do not arrive
	leaving                  // connects and is gone, again and again
	lying                    // acknowledges what was never sent
	stuck    = absent        // this and all that follow never get anywhere
	troubles = lying + 1
)

// step is one thing that happens.
type step struct {
	after time.Duration
	do    action
	sink  int
	lane  int
	n     int
	mix   mix
	x     uint64 // a seed of its own
}

// mix is what kinds a burst of events is made of.
type mix uint8

const (
	sessionsOnly mix = iota
	everything
	storm // of one telemetry kind, in every zone
	storms
	mixes
	opening = mixes // sessions begin, and none ends
)

type action uint8

const (
	offer  action = iota // a burst, and a flush
	pend                 // a burst that is not flushed yet
	quiet                // nothing
	reset                // the connection is reset
	vanish               // the sink loses the connection, and the receiver does not notice
	freezeData
	freezeAcks
	thaw
	stall // the receiver's program stops in the middle of a record
	pause
	resume
	drainNow // the receiver asks for everything that there is
	ackFuture
	ackPast
	garbage
	unknownFrame
	halfFrame
	fail    // the receiver's program returns an error from the next record
	crash   // the receiver's program is killed
	restart // it is stopped, and started again
	start   // it is started if it is not there
	panics  // the sink panics when it connects
	actions

	// Of schedules made by loaded.
	unstall = actions + iota // the receiver's program goes on
	calm                     // the stall has been over for some time
	settled                  // the receiver must be up to date
)

var actionNames = [actions]string{
	"offer", "pend", "quiet", "reset", "vanish", "freeze data", "freeze acks", "thaw", "stall", "pause", "resume", "drain",
	"ack of the future", "ack of the past", "garbage", "unknown frame", "half frame", "fail", "crash", "restart", "start", "panic",
}

func (s step) String() string {
	switch s.do {
	case offer, pend:
		return fmt.Sprintf("%s %d of mix %d on lane %d", actionNames[s.do], s.n, s.mix, s.lane)
	case quiet:
		return "quiet"
	case unstall, calm, settled:
		return map[action]string{unstall: "the stall ends", calm: "calm", settled: "settled"}[s.do]
	default:
		return fmt.Sprintf("%s, sink %d", actionNames[s.do], s.sink)
	}
}

// roomy holds everything that a schedule can make.
var roomy = replay.Limits{Slots: 8192, Telemetry: 7168, PerKind: 4096}

func newPlan(seed uint64) plan {
	if seed%100 == 50 {
		return loaded(seed, 0, 0)
	}
	r := rand.New(rand.NewPCG(seed, 0x51))
	p := plan{
		seed: seed, lanes: 1 + r.IntN(4), zones: []int{1, 3, 64}[r.IntN(3)], concurrent: r.IntN(8) == 0,
		ending: []ending{orderly, orderly, orderly, cut, now}[r.IntN(5)], drain: time.Duration(r.IntN(20000)) * time.Millisecond,
	}
	p.rate = admission.Rate{PerSecond: 1e9, Burst: 1e9}
	if r.IntN(3) == 0 {
		p.rate = admission.Rate{PerSecond: 1 + r.Int64N(200), Burst: 1 + r.Int64N(40)}
	}
	for range 1 + r.IntN(4) {
		p.sinks = append(p.sinks, newSinkPlan(r))
	}
	if len(p.sinks) > 1 && r.IntN(2) == 0 {
		p.sinks[0].makeWell()
	}
	// How eventful: most schedules have a few things going wrong, some nothing else.
	if r.IntN(10) == 0 { // a table of sessions that takes many writes
		for range 6 {
			p.steps = append(p.steps, step{after: wait(r), do: offer, lane: r.IntN(p.lanes), n: 240 / p.busy(), mix: opening, x: r.Uint64()})
		}
	}
	calm := []int{2, 5, 20}[r.IntN(3)]
	for range 30 + r.IntN(60) {
		s := step{
			after: wait(r), do: offer, sink: r.IntN(len(p.sinks)), lane: r.IntN(p.lanes), n: 1 + r.IntN(24), x: r.Uint64(),
		}
		s.mix = mix(r.IntN(int(mixes)))
		if r.IntN(6) == 0 {
			s.n = 1 + r.IntN(250)/p.busy()
		}
		if r.IntN(calm) == 0 {
			s.do = action(r.IntN(int(actions)))
		}
		p.steps = append(p.steps, s)
	}
	return p
}

// busy returns how many workers take part in a burst.
func (p *plan) busy() int {
	if p.concurrent {
		return p.lanes
	}
	return 1
}

// wait draws the time between two steps: from microseconds to, now and then, longer than any timer.
func wait(r *rand.Rand) time.Duration {
	most := []time.Duration{10 * time.Microsecond, time.Millisecond, 20 * time.Millisecond, 200 * time.Millisecond,
		200 * time.Millisecond, 2 * time.Second, 2 * time.Second, 10 * time.Second}[r.IntN(8)]
	if r.IntN(40) == 0 {
		most = 90 * time.Second
	}
	return time.Duration(1+r.Int64N(int64(most))) / residues * residues
}

func newSinkPlan(r *rand.Rand) sinkPlan {
	slots := 8 << r.IntN(7)
	telemetry := 1 + r.IntN(slots-1)
	s := sinkPlan{
		limits:   replay.Limits{Slots: slots, Telemetry: telemetry, PerKind: 1 + r.IntN(telemetry)},
		overflow: replay.Overflow(r.IntN(2)), only: event.AllKinds, delta: r.IntN(4) == 0,
		silence: []time.Duration{5 * time.Second, 30 * time.Second}[r.IntN(2)], waits: r.IntN(2) == 0,
		keeps: keeps(r.IntN(3)), ackEvery: []time.Duration{0, 0, 100 * time.Millisecond, time.Second}[r.IntN(4)],
		data: newWeather(r), control: newWeather(r),
	}
	s.control.capacity = 1 << 16
	if r.IntN(3) == 0 {
		s.only = event.KindSet(1 + r.IntN(int(event.AllKinds)-1<<event.Loss))
	}
	if r.IntN(4) == 0 {
		s.slow = time.Millisecond
	}
	if r.IntN(8) == 0 {
		s.trouble = stuck + trouble(r.IntN(int(troubles-stuck)))
	}
	if s.trouble == leaving {
		s.data.resetAfter = 20
	}
	return s
}

func newWeather(r *rand.Rand) weather {
	w := weather{
		capacity: 100 << r.IntN(11), piece: 1 << (5 + r.IntN(10)),
		latency: time.Duration(1) << (10 + r.IntN(18)), spacing: time.Duration(1) << (8 + r.IntN(12)),
	}
	if r.IntN(3) == 0 {
		w.resetAfter = 100 << r.IntN(10)
	}
	return w
}

// makeWell makes a sink that nothing must happen to.
func (s *sinkPlan) makeWell() {
	s.limits, s.trouble, s.slow, s.keeps = roomy, none, 0, keepsAll
	s.data, s.control = goodWeather, goodWeather
}
