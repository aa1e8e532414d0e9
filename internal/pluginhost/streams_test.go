package pluginhost

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/rtflow/pipelined/sdk/sinktest"
)

// TestBrokerRefused runs a plugin that would send without end over go-plugin's broker, whose messages cost a goroutine each.
func TestBrokerRefused(t *testing.T) {
	h, _ := newHost(t)
	sink := newTestSink(t, h, "mtls = false", "brokers")
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 10)...)
	s.Drain()
	if err := s.Run(t.Context(), sink); err != nil || s.Acked() != 10 {
		t.Errorf("Run = %v, acknowledged %d", err, s.Acked())
	}
	p := sink.process
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := p.conn.Load().NewStream(t.Context(), desc, brokerService+"StartStream")
	if status.Code(err) != codes.Unimplemented || stream != nil {
		t.Errorf("the broker's stream: %v", err)
	}
}

// endless is a stream of the same message without end.
type endless struct {
	grpc.ClientStream

	text string
}

func (m endless) RecvMsg(to any) error {
	to.(*wrapperspb.StringValue).Value = m.text
	return nil
}

// TestStdioPaced checks that every message of the output's stream is paid for, with something in it or without.
func TestStdioPaced(t *testing.T) {
	for _, text := range []string{"", strings.Repeat("x", 50<<10)} {
		paid := 0
		next := func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
			return endless{text: text}, nil
		}
		p := &live{pay: func(n int) { paid += n }}
		s, err := p.openStream(t.Context(), nil, nil, stdioService+"StreamStdio", next)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.RecvMsg(new(wrapperspb.StringValue)); err != nil {
			t.Fatal(err)
		}
		if paid < messageCost+len(text) {
			t.Errorf("%d bytes were paid for a message of %d", paid, len(text))
		}
	}
}
