package sim

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rtflow/pipelined/sdk/eventstream"
)

// Residues tell apart, by its time in nanoseconds modulo 64, what makes an instant happen. Steps are taken at 0. All
// durations in use are multiples of 64 ns, so that a timer has the residue of what has set it.
const (
	residues      = 64
	wireResidue   = 1  // + 2 × sink + direction
	dialerResidue = 32 // + sink
	acceptResidue = 36 // + sink
	workResidue   = 40 // + sink; of a receiver's program
)

// nextInstant returns the first instant of that residue after t.
func nextInstant(t time.Time, residue int64) time.Time {
	ns := t.UnixNano()
	next := ns - ns%residues + residue
	if next <= ns {
		next += residues
	}
	return t.Add(time.Duration(next - ns))
}

// weather is what a wire does to bytes.
type weather struct {
	capacity   int           // bytes that are on their way or not read yet
	piece      int           // bytes that arrive together, at most
	latency    time.Duration // at most
	spacing    time.Duration // between two pieces, at most
	resetAfter int64         // bytes, about, until the connection is reset; 0: never
}

// wire is a connection between a sink and a receiver.
type wire struct {
	mu             sync.Mutex
	changed        sync.Cond
	sink, receiver end
	spoiled        bool // somebody has written to the sink beside the receiver; of the steps
	paused         bool // the receiver has asked for a pause, and for nothing since
}

// end is one end of a wire.
type end struct {
	w        *wire
	in, out  *half
	closed   bool
	cut      bool // the other end has not noticed, and what is written goes nowhere
	deadline [2]alarm
	onClose  func()
}

// Indexes of end.deadline.
const (
	reading = iota
	writing
)

// alarm is a deadline.
type alarm struct {
	at    time.Time
	timer *time.Timer
}

// half is one direction of a wire.
type half struct {
	w        *wire
	rng      *rand.Rand // of the writer
	reads    *rand.Rand // of the reader
	residue  int64
	weather  weather
	flying   []piece // in order of arrival
	landed   []byte
	size     int // bytes of both
	window   int // how many they may be, if that is less than the weather allows; 0: as many as that
	frozen   bool
	last     time.Time // arrival of the last piece
	left     int       // bytes that may still join the last piece
	latency  time.Duration
	sent     int64
	resetAt  int64
	broken   bool // nothing arrives any more
	timer    *time.Timer
	finished bool // the writer has closed
	sniffer  sniffer
}

// piece is what arrives at one instant.
type piece struct {
	at     time.Time
	bytes  []byte
	say    func() []byte // if set, gives the bytes when they arrive
	breaks bool          // the connection breaks behind it
}

func newWire(seed uint64, sink int, data, control weather, v *witness) *wire {
	w := &wire{}
	w.changed.L = &w.mu
	half := func(direction int, of weather) *half {
		h := &half{
			w: w, weather: of, residue: int64(wireResidue + 2*sink + direction),
			rng: rand.New(rand.NewPCG(seed, uint64(direction))), reads: rand.New(rand.NewPCG(seed, uint64(2+direction))),
		}
		if of.resetAfter > 0 {
			h.resetAt = 1 + h.rng.Int64N(2*of.resetAfter)
		}
		h.timer = time.AfterFunc(time.Hour, h.arrive)
		h.timer.Stop()
		return h
	}
	down, up := half(0, data), half(1, control)
	down.sniffer, up.sniffer = sniffer{v: v, w: w}, sniffer{v: v, w: w}
	down.sniffer.frame = down.sniffer.fromSink
	up.sniffer.frame = func(f eventstream.Frame) {
		switch f.Type() {
		case eventstream.Pause, eventstream.Resume:
			w.paused = f.Type() == eventstream.Pause
		case eventstream.DrainRequest:
			down.sniffer.asked = append(down.sniffer.asked, f.Seq())
			w.paused = false // what is held comes
		}
	}
	w.sink = end{w: w, in: up, out: down}
	w.receiver = end{w: w, in: down, out: up}
	return w
}

// arrive lands what is due.
func (h *half) arrive() {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	now := time.Now()
	for len(h.flying) > 0 && !h.frozen && !h.broken && !h.flying[0].at.After(now) {
		p := h.flying[0]
		h.flying = h.flying[1:]
		if p.say != nil {
			p.bytes = p.say()
			h.size += len(p.bytes)
		}
		h.landed = append(h.landed, p.bytes...)
		if p.breaks {
			h.w.breakNow()
		}
	}
	h.await()
	h.w.changed.Broadcast()
}

// await sets the timer for what arrives next.
func (h *half) await() {
	if len(h.flying) > 0 && !h.frozen && !h.broken {
		h.timer.Reset(time.Until(h.flying[0].at))
	}
}

// put sends bytes off, as many as there is room for, and returns how many. Where pieces begin and how long they take
// depends on the place in the stream only.
func (h *half) put(b []byte) int {
	capacity := h.weather.capacity
	if h.window > 0 {
		capacity = min(capacity, h.window)
	}
	n := min(len(b), capacity-h.size)
	if n <= 0 {
		return 0
	}
	h.sniffer.write(b[:n])
	idle := len(h.flying) == 0
	now := time.Now()
	for rest := b[:n]; len(rest) > 0; {
		if h.left == 0 {
			h.left = 1 + h.rng.IntN(h.weather.piece)
			h.latency = time.Duration(h.rng.Int64N(int64(h.weather.latency)))
			h.last = h.last.Add(time.Duration(h.rng.Int64N(int64(h.weather.spacing))))
		}
		k := min(len(rest), h.left)
		p := piece{at: h.arrival(now), bytes: append([]byte(nil), rest[:k]...)}
		rest, h.left = rest[k:], h.left-k
		before := h.sent
		h.sent += int64(k)
		if h.resetAt > 0 && h.sent >= h.resetAt {
			if before >= h.resetAt {
				continue // behind the break
			}
			p.bytes, p.breaks = p.bytes[:h.resetAt-before], true
		}
		h.size += len(p.bytes)
		h.flying = append(h.flying, p)
	}
	if idle {
		h.await()
	}
	return n
}

func (h *half) arrival(now time.Time) time.Time {
	at := now.Add(h.latency)
	if h.last.After(at) {
		at = h.last
	}
	if at.UnixNano()%residues != h.residue || !at.After(now) {
		at = nextInstant(at, h.residue)
	}
	h.last = at
	return at
}

// inject makes bytes arrive behind what was written until now, and not inside it. say is called when they do.
func (h *half) inject(say func() []byte) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if h.finished || h.broken {
		return
	}
	h.flying = append(h.flying, piece{at: h.arrival(time.Now()), say: say})
	if len(h.flying) == 1 {
		h.await()
	}
}

// freeze holds what is on its way, or lets it go.
func (h *half) freeze(frozen bool) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if h.frozen && !frozen {
		soon := nextInstant(time.Now(), h.residue)
		for i := range h.flying {
			if h.flying[i].at.Before(soon) {
				h.flying[i].at = soon
			}
		}
		if h.last.Before(soon) {
			h.last = soon
		}
	}
	h.frozen = frozen
	h.await()
}

// breakNow resets the connection. The receiver can still read what has landed; what is on its way is lost. The sink cannot:
// whether it notices the end while it reads or while it writes is not for the scheduler to decide.
func (w *wire) breakNow() {
	w.sink.in.landed = nil
	for _, h := range []*half{w.sink.in, w.sink.out} {
		h.broken = true
		h.flying = nil
	}
	w.changed.Broadcast()
}

// reset is breakNow for a step.
func (w *wire) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.breakNow()
}

// lose resets the connection for the sink, and the receiver does not notice: what is on its way still arrives there.
func (w *wire) lose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sink.in.broken, w.sink.in.flying = true, nil
	w.sink.cut, w.receiver.cut = true, true
	w.changed.Broadcast()
}

// pauses reports whether the receiver has asked for a pause, and everything written was read, at both ends.
func (w *wire) pauses() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.paused && !w.spoiled && w.sink.out.size == 0 && w.sink.in.size == 0 && len(w.sink.in.flying) == 0
}

// over reports whether the sink is done with the wire.
func (w *wire) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sink.closed
}

// goodWeather is that of a receiver that is well.
var goodWeather = weather{capacity: 1 << 20, piece: 1 << 14, latency: time.Millisecond, spacing: time.Microsecond}

// fair ends bad weather.
func (w *wire) fair() {
	for _, h := range []*half{w.sink.in, w.sink.out} {
		h.freeze(false)
		w.mu.Lock()
		h.resetAt, h.weather = 0, goodWeather
		w.changed.Broadcast()
		w.mu.Unlock()
	}
}
