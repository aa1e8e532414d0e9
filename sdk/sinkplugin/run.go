package sinkplugin

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// window is how many records may wait in this process for the sink to take them: eight of the daemon's largest batches.
const window = 8192

// keptGenerations is how many generations of names are known at least. Those of records that are not acknowledged always are.
const keptGenerations = 16

// use is a generation, and the last of the records that have it in a row.
type use struct {
	generation uint32
	last       event.Seq
}

// run is the stream of one run, as the sink sees it.
type run struct {
	epoch uint64

	mu       sync.Mutex
	queue    []*sinkv1.Batch
	names    map[uint32]*event.Names
	uses     []use // of records that are not acknowledged, and perhaps of earlier ones, in their order
	drain    bool
	over     bool
	err      error     // the daemon's breach of the protocol
	handed   event.Seq // last record the sink has got
	consumed uint64    // records it has got
	granted  uint64    // credit that was sent
	acked    event.Seq
	ackSent  event.Seq
	rejected []*sinkv1.Rejection
	listing  uint64 // the list that is wanted, 0 if none is
	asks     bool   // for the next of it
	gone     bool   // the daemon sends no more

	stopping chan struct{}         // closed when the daemon begins to stop
	lost     chan struct{}         // closed when the daemon sends no more
	listed   chan *sinkv1.Sessions // an answer to what was asked last
	arrived  chan struct{}         // a token when there is something for Next
	news     chan struct{}         // a token when there is something to send up
	done     chan struct{}         // closed when Run has returned

	records []event.Record // lent to the sink
}

var (
	_ sdk.Stream        = (*run)(nil)
	_ sdk.SessionLister = (*run)(nil)
	_ sdk.DrainNotifier = (*run)(nil)
)

// errOver is what a goroutine that a sink has left behind gets.
const errOver = sdk.Error("sdk: the stream ended when Run returned")

func newRun(epoch uint64) *run {
	r := &run{
		epoch: epoch, names: make(map[uint32]*event.Names), arrived: make(chan struct{}, 1), news: make(chan struct{}, 1),
		done: make(chan struct{}), stopping: make(chan struct{}), lost: make(chan struct{}), listed: make(chan *sinkv1.Sessions, 1),
	}
	signal(r.news) // the first credit
	return r
}

// signal leaves a token for whoever waits.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// receive takes what the daemon sends until it sends no more. Then the run is cancelled.
func (r *run) receive(call grpc.BidiStreamingServer[sinkv1.Down, sinkv1.Up], cancel context.CancelFunc) {
	defer cancel()
	defer func() {
		r.mu.Lock()
		r.gone = true
		r.mu.Unlock()
		close(r.lost)
	}()
	for {
		m, err := call.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				r.fail(err)
			}
			return
		}
		if err := r.take(m); err != nil {
			r.fail(status.Error(codes.InvalidArgument, err.Error()))
			return
		}
	}
}

func (r *run) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

func (r *run) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// take takes one message.
func (r *run) take(m *sinkv1.Down) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch m := m.GetMessage().(type) {
	case *sinkv1.Down_Batch:
		if n := m.Batch.GetCount(); n == 0 || int(n) > len(m.Batch.GetFrames())/event.FrameSize {
			return sdk.Error("sinkplugin: a batch whose count is wrong")
		}
		r.queue = append(r.queue, m.Batch)
		r.use(m.Batch.GetGeneration(), event.Seq(m.Batch.GetFirst()+uint64(m.Batch.GetCount())-1))
	case *sinkv1.Down_Names:
		n := sinkv1.ToNames(m.Names)
		for old := range r.names {
			if uint64(old)+keptGenerations < uint64(n.Generation) && !slices.ContainsFunc(r.uses, func(u use) bool { return u.generation == old }) {
				delete(r.names, old)
			}
		}
		r.names[n.Generation] = n
	case *sinkv1.Down_Drain:
		r.drain = true
		r.stop()
	case *sinkv1.Down_Stopping:
		r.stop()
	case *sinkv1.Down_Sessions:
		r.answered(m.Sessions)
	}
	signal(r.arrived)
	return nil
}

func (r *run) Next(ctx context.Context, wait time.Duration) (sdk.Batch, error) {
	var timeout <-chan time.Time
	for {
		if err := ctx.Err(); err != nil {
			return sdk.Batch{}, err
		}
		b, err := r.pop()
		if err != nil || b != nil {
			return sdk.Batch{Records: b}, err
		}
		if wait == 0 {
			return sdk.Batch{}, nil
		}
		if wait > 0 && timeout == nil {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-r.arrived:
		case <-timeout:
			return sdk.Batch{}, nil
		case <-ctx.Done():
		}
	}
}

// pop returns the records of the oldest batch that has arrived, nil if there is none.
func (r *run) pop() ([]event.Record, error) {
	r.mu.Lock()
	switch {
	case r.over:
		r.mu.Unlock()
		return nil, errOver
	case len(r.queue) == 0:
		drained := r.drain
		r.mu.Unlock()
		if drained {
			return nil, sdk.ErrDrained
		}
		return nil, nil
	}
	b := r.queue[0]
	r.queue[0] = nil
	r.queue = r.queue[1:]
	if len(r.queue) > 0 || r.drain {
		signal(r.arrived)
	}
	r.handed = event.Seq(b.GetFirst()) + event.Seq(b.GetCount()) - 1
	r.consumed += uint64(b.GetCount())
	if r.consumed+window-r.granted >= window/2 {
		signal(r.news)
	}
	r.mu.Unlock()
	return r.unpack(b)
}

// unpack decodes a batch into the records that are lent to the sink.
func (r *run) unpack(b *sinkv1.Batch) ([]event.Record, error) {
	n := int(b.GetCount())
	if cap(r.records) < n {
		r.records = make([]event.Record, n)
	}
	r.records = r.records[:n]
	frames := b.GetFrames()
	for i := range r.records {
		rec := &r.records[i]
		size, err := rec.Decode(frames)
		if err == nil && rec.Seq() != event.Seq(b.GetFirst())+event.Seq(i) {
			err = sdk.Error("sinkplugin: a batch with a gap in its sequence numbers")
		}
		if err != nil {
			r.fail(status.Error(codes.InvalidArgument, err.Error()))
			return nil, err
		}
		rec.Generation = b.GetGeneration()
		frames = frames[size:]
	}
	return r.records, nil
}

// stop tells whoever waits that the daemon begins to stop. The lock is held.
func (r *run) stop() {
	select {
	case <-r.stopping:
	default:
		close(r.stopping)
	}
}

func (r *run) Ack(through event.Seq) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.over:
		return errOver
	case through > r.handed:
		return sdk.Error("sdk: acknowledged a record that was not handed out")
	case through > r.acked:
		r.acked = through
		signal(r.news)
	}
	return nil
}

func (r *run) Reject(seq event.Seq, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over && seq > r.acked && seq <= r.handed {
		r.rejected = append(r.rejected, &sinkv1.Rejection{Sequence: uint64(seq), Why: cut(why, maxWhy)})
		signal(r.news)
	}
}

// maxWhy is the longest reason of a rejection, in bytes.
const maxWhy = 200

// use notes up to which record a generation is in use. The lock is held.
func (r *run) use(generation uint32, last event.Seq) {
	if n := len(r.uses); n > 0 && r.uses[n-1].generation == generation {
		r.uses[n-1].last = last
		return
	}
	r.uses = append(slices.DeleteFunc(r.uses, func(u use) bool { return u.last <= r.acked }), use{generation, last})
}

func (r *run) Names(generation uint32) *event.Names {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, ok := r.names[generation]; ok {
		return n
	}
	return &event.Names{Generation: generation}
}

func (r *run) Epoch() uint64 { return r.epoch }

// end says that Run has returned. What it has acknowledged is still sent.
func (r *run) end() {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	close(r.done)
}

// acknowledge sends acknowledgements, rejections and credits until the run has ended and all of them are sent.
func (r *run) acknowledge(call grpc.BidiStreamingServer[sinkv1.Down, sinkv1.Up], cancel context.CancelFunc) {
	up := new(sinkv1.Up)
	for {
		ended := false
		select {
		case <-r.news:
		case <-r.done:
			ended = true
		}
		for r.collect(up) {
			if err := call.Send(up); err != nil {
				cancel() // the daemon is gone
				return
			}
		}
		if ended {
			return
		}
	}
}

// maxRejections is how many rejections a message carries: far from the limit of its size.
const maxRejections = 1000

// collect fills the next message and reports whether there is something in it. An acknowledgement goes up with the last
// rejections before it, never ahead of them.
func (r *run) collect(up *sinkv1.Up) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	up.Reset()
	if n := min(len(r.rejected), maxRejections); n > 0 {
		up.Rejections = r.rejected[:n:n]
		r.rejected = r.rejected[n:]
	}
	if len(r.rejected) == 0 && r.acked > r.ackSent {
		r.ackSent = r.acked
		up.Ack = uint64(r.acked)
	}
	if credit := r.consumed + window; credit > r.granted && (up.GetAck() > 0 || credit-r.granted >= window/2) {
		r.granted = credit
		up.Credit = credit
	}
	if r.asks {
		r.asks = false
		up.Listing = &sinkv1.Listing{Id: r.listing}
	}
	return up.GetAck() > 0 || up.GetCredit() > 0 || len(up.GetRejections()) > 0 || up.GetListing() != nil
}
