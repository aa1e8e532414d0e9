package deliver

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// streams is a queue that has what two earlier epochs have left, and then nothing: it is the queue of a pipeline that stops.
type streams struct {
	Queue
	at     int
	handed bool
	acked  bool
}

func (q *streams) Next(int) []event.Record {
	if q.handed || q.at == 2 {
		return nil
	}
	q.handed = true
	var r [1]event.Record
	r[0].Reset(event.PolicyDeny)
	r[0].SetSeq(1)
	return r[:]
}

func (q *streams) Sleep() (<-chan struct{}, bool) { return nil, false }
func (q *streams) Ack(event.Seq) error            { q.acked = true; return nil }
func (q *streams) Drained() bool                  { return q.handed || q.at == 2 }
func (q *streams) Draining() <-chan struct{}      { return nil }
func (q *streams) Room() <-chan struct{}          { return nil }
func (q *streams) Taken() uint64                  { return uint64(q.at) }
func (q *streams) Epoch() uint64                  { return uint64(10 + q.at) }

func (q *streams) Rewind() {
	if q.acked {
		q.at++
	}
	q.handed, q.acked = false, false
}

// TestStreams checks that what earlier epochs have left comes run by run, each as a stream of its own, without a pause between them.
func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var epochs []uint64
		sink := sinkFunc(func(ctx context.Context, s sdk.Stream) error {
			epochs = append(epochs, s.Epoch())
			return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) { return b.Len(), nil }).Run(ctx, s)
		})
		d := New(Config{Name: "sink", Sink: sink, Spool: new(streams), Epoch: 12})
		d.Run(t.Context())
		if len(epochs) != 2 || epochs[0] != 10 || epochs[1] != 11 || d.Status().Phase != Drained {
			t.Errorf("streams %v, then %v", epochs, d.Status().Phase)
		}
	})
}
