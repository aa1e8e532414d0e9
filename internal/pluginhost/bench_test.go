package pluginhost

import (
	"context"
	"io"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// flood is a stream that has records without end and waits only for acknowledgements, as a full ring does.
type flood struct {
	records []event.Record // a ring of a power of two
	total   event.Seq

	mu     sync.Mutex
	moved  chan struct{}
	handed event.Seq
	acked  event.Seq
}

func newFlood(total int) *flood {
	const slots = 1 << 16
	f := &flood{total: event.Seq(total), moved: make(chan struct{}, 1)}
	sample := sinktest.Records(1, 4096)
	for i := range slots {
		f.records = append(f.records, sample[i%len(sample)])
	}
	return f
}

func (f *flood) Next(ctx context.Context, _ time.Duration) (sdk.Batch, error) {
	for {
		f.mu.Lock()
		free := event.Seq(len(f.records)) - (f.handed - f.acked)
		start := int(f.handed) % len(f.records)
		n := min(maxBatch, int(free), int(f.total-f.handed), len(f.records)-start)
		if n > 0 {
			b := f.records[start : start+n]
			for i := range b {
				b[i].SetSeq(f.handed + event.Seq(i) + 1)
			}
			f.handed += event.Seq(n)
			f.mu.Unlock()
			return sdk.Batch{Records: b}, nil
		}
		drained := f.handed == f.total
		f.mu.Unlock()
		if drained {
			return sdk.Batch{}, sdk.ErrDrained
		}
		select {
		case <-f.moved:
		case <-ctx.Done():
			return sdk.Batch{}, ctx.Err()
		}
	}
}

func (f *flood) Ack(through event.Seq) error {
	f.mu.Lock()
	f.acked = max(f.acked, through)
	f.mu.Unlock()
	select {
	case f.moved <- struct{}{}:
	default:
	}
	return nil
}

func (f *flood) Reject(event.Seq, string)    {}
func (f *flood) Names(g uint32) *event.Names { return &event.Names{Generation: g} }
func (f *flood) Epoch() uint64               { return 1 }

// BenchmarkPluginRecords sends records through a plugin that only counts, in batches of 1024.
func BenchmarkPluginRecords(b *testing.B) {
	for name, more := range map[string]string{"mtls": "", "bare-socket": "mtls = false"} {
		b.Run(name, func(b *testing.B) {
			h, _ := newHost(b)
			sink := newTestSink(b, h, more, "count")
			if err := h.Configure(b.Context(), []string{"mine"}); err != nil {
				b.Fatal(err)
			}
			f := newFlood(b.N)
			b.ReportAllocs()
			b.ResetTimer()
			if err := sink.Run(b.Context(), f); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if f.acked != f.total {
				b.Fatalf("%d of %d acknowledged", f.acked, f.total)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkPluginBare moves the same bytes in batches of the same size over a go-plugin stream that is nothing but that.
func BenchmarkPluginBare(b *testing.B) {
	for name, mtls := range map[string]bool{"mtls": true, "bare-socket": false} {
		b.Run(name, func(b *testing.B) {
			cmd := exec.Command(executablePath(b), pluginArg, "bare")
			client := plugin.NewClient(&plugin.ClientConfig{
				HandshakeConfig: sinkv1.Handshake(), Plugins: plugin.PluginSet{sinkv1.Service: adapter{}}, Cmd: cmd, AutoMTLS: mtls,
				AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, Logger: hclog.NewNullLogger(),
			})
			defer client.Kill()
			protocol, err := client.Client()
			if err != nil {
				b.Fatal(err)
			}
			raw, err := protocol.Dispense(sinkv1.Service)
			if err != nil {
				b.Fatal(err)
			}
			call, err := raw.(sinkv1.SinkClient).Deliver(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			f := newFlood(b.N)
			batch := &sinkv1.Batch{}
			down := &sinkv1.Down{Message: &sinkv1.Down_Batch{Batch: batch}}
			records := f.records[:maxBatch]
			for i := range records {
				batch.Frames = append(batch.Frames, records[i].Frame()...)
			}
			b.ResetTimer()
			for sent := 0; sent < b.N; sent += maxBatch {
				if err := call.Send(down); err != nil {
					b.Fatal(err)
				}
			}
			_ = call.CloseSend()
			for {
				if _, err := call.Recv(); err == io.EOF {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// bareServer takes messages and answers each.
type bareServer struct {
	sinkv1.UnimplementedSinkServer
}

func (bareServer) Deliver(call grpc.BidiStreamingServer[sinkv1.Down, sinkv1.Up]) error {
	for n := uint64(1); ; n++ {
		if _, err := call.Recv(); err != nil {
			return nil
		}
		if err := call.Send(&sinkv1.Up{Ack: n}); err != nil {
			return err
		}
	}
}

type bareAdapter struct {
	plugin.NetRPCUnsupportedPlugin
}

func (bareAdapter) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	sinkv1.RegisterSinkServer(s, bareServer{})
	return nil
}

func (bareAdapter) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func serveBare() {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: sinkv1.Handshake(), Plugins: plugin.PluginSet{sinkv1.Service: bareAdapter{}},
		GRPCServer: plugin.DefaultGRPCServer, Logger: hclog.NewNullLogger(),
	})
}

// single is a stream that hands out one record at a time and says when it was acknowledged.
type single struct {
	records chan event.Record
	acked   chan event.Seq
	lent    [1]event.Record
}

func (s *single) Next(ctx context.Context, _ time.Duration) (sdk.Batch, error) {
	select {
	case r, ok := <-s.records:
		if !ok {
			return sdk.Batch{}, sdk.ErrDrained
		}
		s.lent[0] = r
		return sdk.Batch{Records: s.lent[:]}, nil
	case <-ctx.Done():
		return sdk.Batch{}, ctx.Err()
	}
}

func (s *single) Ack(through event.Seq) error { s.acked <- through; return nil }
func (s *single) Reject(event.Seq, string)    {}
func (s *single) Names(g uint32) *event.Names { return &event.Names{Generation: g} }
func (s *single) Epoch() uint64               { return 1 }

// BenchmarkPluginLatency measures admission to acknowledgement of single records, a thousand a second, through a plugin
// and, for what a wake-up costs anyway, through a sink in this process.
func BenchmarkPluginLatency(b *testing.B) {
	b.Run("process", func(b *testing.B) {
		h, _ := newHost(b)
		sink := newTestSink(b, h, "", "count")
		if err := h.Configure(b.Context(), []string{"mine"}); err != nil {
			b.Fatal(err)
		}
		latency(b, sink)
	})
	b.Run("inside", func(b *testing.B) {
		latency(b, sdk.Writer(func(_ context.Context, batch sdk.Batch) (int, error) { return batch.Len(), nil }))
	})
}

func latency(b *testing.B, sink sdk.Sink) {
	s := &single{records: make(chan event.Record), acked: make(chan event.Seq, 1)}
	done := make(chan error, 1)
	go func() { done <- sink.Run(b.Context(), s) }()
	took := make([]time.Duration, 0, b.N)
	r := sinktest.Record(event.PolicyDeny, 1)
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	b.ResetTimer()
	for i := range b.N {
		<-pace.C
		r.SetSeq(event.Seq(i + 1))
		begin := time.Now()
		s.records <- r
		<-s.acked
		took = append(took, time.Since(begin))
	}
	b.StopTimer()
	close(s.records)
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
}
