package pluginhost

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// Streams that go-plugin opens by itself.
const (
	brokerService = "/plugin.GRPCBroker/" // for connections that nobody here makes
	stdioService  = "/plugin.GRPCStdio/"  // what the plugin prints
)

// dialOptions bound what a plugin may send.
func (p *live) dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(sinkv1.MaxUp)),
		grpc.WithChainStreamInterceptor(p.openStream),
		grpc.WithReadBufferSize(32 << 10), grpc.WithWriteBufferSize(256 << 10),
		grpc.WithMaxHeaderListSize(64 << 10),
	}
}

// openStream opens a stream, and keeps hold of the connection: go-plugin forgets it if a call fails too early. The broker's is refused,
// because go-plugin starts a goroutine for each of its messages; that of the output is read no faster than output is.
func (p *live) openStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
	p.conn.Store(cc)
	if strings.HasPrefix(method, brokerService) {
		return nil, status.Error(codes.Unimplemented, "nothing is brokered here")
	}
	stream, err := next(ctx, desc, cc, method, o...)
	if err == nil && strings.HasPrefix(method, stdioService) {
		stream = &paced{stream, p.pay}
	}
	return stream, err
}

// paced is a stream whose messages count as output, whatever is in them.
type paced struct {
	grpc.ClientStream

	pay func(bytes int) // waits until so much may be read
}

// messageCost is how many bytes of output a message costs beside its own.
const messageCost = 64

func (s *paced) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		return err
	}
	n := messageCost
	if m, ok := m.(proto.Message); ok {
		n += proto.Size(m)
	}
	s.pay(n)
	return nil
}
