package file

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// TestRest ends runs in which the sink lets records collect for longer than the test may take: by a drain, and by the context.
func TestRest(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*sinktest.Stream, context.CancelFunc)
		want error
	}{
		{"drain", func(s *sinktest.Stream, _ context.CancelFunc) { s.Drain() }, nil},
		{"context", func(_ *sinktest.Stream, cancel context.CancelFunc) { cancel() }, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			enc, err := format.New(format.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			sink := NewWriter(&out, enc).(*Sink)
			sink.pause = time.Hour
			s := sinktest.NewStream(t)
			s.Append(sinktest.Record(event.SessionOpen, 1))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error)
			go func() { ended <- s.Run(ctx, sink) }()
			if err := s.WaitAcked(ctx, 1); err != nil {
				t.Fatal(err)
			}
			c.end(s, cancel)
			if err := <-ended; !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if n := bytes.Count(out.Bytes(), []byte("\n")); n != 1 {
				t.Errorf("%d lines", n)
			}
		})
	}
}
