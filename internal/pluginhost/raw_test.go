package pluginhost

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rtflow/pipelined/sdk/sinkplugin"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// spun is what a plugin that spins counts.
var spun atomic.Int64

// rawPlugin is a plugin that does not do what it should. mode says what it does instead.
func rawPlugin(mode string, args []string) {
	switch mode {
	case "silent":
		time.Sleep(time.Hour)
	case "brokers": // answers every stream but those of the service with messages without end
		srv := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
			var err error
			for id := byte(0); err == nil; id = (id + 1) & 127 {
				err = s.SendMsg(rawBytes{8, id})
			}
			return err
		}))
		sinkv1.RegisterSinkServer(srv, script{mode: "acknowledges"})
		_ = srv.Serve(listen())
	case "exits":
		fmt.Fprintln(os.Stderr, "no license")
		os.Exit(7)
	case "says":
		fmt.Println(args[0])
		time.Sleep(time.Hour)
	case "endless":
		for {
			fmt.Print(strings.Repeat("x", 4096))
		}
	case "deaf":
		listen()
		time.Sleep(time.Hour)
	case "babbles":
		l := listen()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				for _, err = c.Write([]byte("\x00\x00\x10\x04nonsense\xff\xff")); err == nil; _, err = c.Write([]byte("more nonsense")) {
				}
			}()
		}
	case "hangs-up":
		l := listen()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	case "orphan": // escapes the parent-death signal, the end of standard input and the process group, and leaves a child behind
		child := exec.Command(os.Args[0], pluginArg, "stays", args[0])
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		child.Stderr = os.Stderr // held open
		if err := child.Start(); err != nil {
			panic(err)
		}
		sinkplugin.Serve(testPlugin())
	case "stays":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		tell(args[0], os.Getpid())
		time.Sleep(time.Hour)
	case "environment":
		if err := os.WriteFile(args[0], []byte(strings.Join(os.Environ(), "\n")), 0o600); err != nil {
			panic(err)
		}
		sinkplugin.Serve(testPlugin())
	case "id":
		text := fmt.Sprintf("%d %d %d", os.Getuid(), os.Getgid(), syscall.Getpgrp()-os.Getpid())
		fmt.Fprintln(os.Stderr, "I am "+text)
		sinkplugin.Serve(testPlugin())
	case "spins":
		for range 4 {
			go func() {
				for n := 0; ; n++ {
					spun.Store(int64(n))
				}
			}()
		}
		sinkplugin.Serve(testPlugin())
	case "prints":
		go func() {
			stdout := os.Stdout
			for os.Stdout == stdout { // until the handshake is said, and the kit takes standard output
				time.Sleep(time.Millisecond)
			}
			fmt.Fprintln(stdout, "past the kit"+strings.Repeat(".", 200<<10))
			fmt.Fprintln(stdout, "and after a long line")
			fmt.Println("through the kit")
		}()
		sinkplugin.Serve(testPlugin())
	case "eats":
		var kept [][]byte
		go func() {
			for {
				b := make([]byte, 1<<20)
				for i := range b {
					b[i] = 1
				}
				kept = append(kept, b)
				time.Sleep(time.Millisecond)
			}
		}()
		sinkplugin.Serve(testPlugin())
	case "needsfile": // fails without a file of that name
		if _, err := os.Stat(args[0]); err != nil {
			os.Exit(1)
		}
		sinkplugin.Serve(testPlugin())
	default:
		serveScript(mode)
	}
}

// tell writes a number where a test waits for it.
func tell(path string, n int) {
	if err := os.WriteFile(path+".new", fmt.Appendln(nil, n), 0o600); err != nil {
		panic(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		panic(err)
	}
}

// listen says the handshake without TLS and listens.
func listen() net.Listener {
	path := filepath.Join(os.Getenv(plugin.EnvUnixSocketDir), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		panic(err)
	}
	fmt.Printf("1|1|unix|%s|grpc|\n", path)
	return l
}

// script is a service that breaks the protocol.
type script struct {
	sinkv1.UnimplementedSinkServer
	mode string
}

func (s script) Configure(context.Context, *sinkv1.ConfigureRequest) (*sinkv1.ConfigureResponse, error) {
	switch s.mode {
	case "configure-error":
		return nil, status.Error(codes.Internal, "cannot\x1b[31m even")
	case "configure-hangs":
		time.Sleep(time.Hour)
	case "many-problems":
		answer := new(sinkv1.ConfigureResponse)
		for i := range 1000 {
			answer.Problems = append(answer.Problems, &sinkv1.Problem{Key: fmt.Sprintf("a[%d].\x00\"", i), Message: "bad\nluck"})
		}
		return answer, nil
	}
	return new(sinkv1.ConfigureResponse), nil
}

func (s script) Health(ctx context.Context, _ *sinkv1.HealthRequest) (*sinkv1.HealthResponse, error) {
	switch s.mode {
	case "no-room":
		fmt.Fprintln(os.Stderr, "no room is left")
		<-ctx.Done()
		return nil, ctx.Err()
	case "dies-in-health":
		os.Exit(3)
	case "renames": // has other counters in every process, but for one
		answer := &sinkv1.HealthResponse{Counters: []*sinkv1.Counter{{Name: "a", Value: 1}}}
		for i := range maxCounters / 2 {
			answer.Counters = append(answer.Counters, &sinkv1.Counter{Name: fmt.Sprintf("n%d_%d", os.Getpid(), i), Value: 1})
		}
		return answer, nil
	case "ill":
		return nil, status.Error(codes.Internal, "feverish")
	case "odd-health":
		answer := &sinkv1.HealthResponse{Status: "{no json", Counters: []*sinkv1.Counter{{Name: "Bad Name", Value: 1}, {Name: "good", Value: 2}}}
		for i := range 1000 {
			answer.Counters = append(answer.Counters, &sinkv1.Counter{Name: fmt.Sprintf("n%d", i)})
		}
		return answer, nil
	}
	return new(sinkv1.HealthResponse), nil
}

func (s script) Deliver(call grpc.BidiStreamingServer[sinkv1.Down, sinkv1.Up]) error {
	if s.mode == "no-credit" {
		<-call.Context().Done()
		return nil
	}
	if err := call.Send(&sinkv1.Up{Credit: 1 << 40}); err != nil {
		return err
	}
	var last uint64
	for last == 0 {
		m, err := call.Recv()
		if err != nil {
			return err
		}
		if b := m.GetBatch(); b != nil {
			last = b.GetFirst() + uint64(b.GetCount()) - 1
		}
	}
	switch s.mode {
	case "future-ack":
		_ = call.Send(&sinkv1.Up{Ack: last + 1_000_000})
	case "future-reject":
		_ = call.Send(&sinkv1.Up{Rejections: []*sinkv1.Rejection{{Sequence: last + 1_000_000, Why: "x"}}})
	case "past-reject":
		_ = call.Send(&sinkv1.Up{Ack: last})
		_ = call.Send(&sinkv1.Up{Rejections: []*sinkv1.Rejection{{Sequence: 1, Why: "x"}}})
	case "reject-flood":
		for {
			if err := call.Send(&sinkv1.Up{Rejections: []*sinkv1.Rejection{{Sequence: last, Why: "x"}}}); err != nil {
				return err
			}
		}
	case "idle-flood":
		for {
			if err := call.Send(&sinkv1.Up{}); err != nil {
				return err
			}
		}
	case "ack-flood":
		for {
			if err := call.Send(&sinkv1.Up{Ack: last}); err != nil {
				return err
			}
		}
	case "list-flood": // goes on with a list that has ended
		for {
			if err := call.Send(&sinkv1.Up{Listing: &sinkv1.Listing{Id: 1}}); err != nil {
				return err
			}
		}
	case "lists-flood": // reads list after list
		for i := uint64(2); ; i++ {
			if err := call.Send(&sinkv1.Up{Listing: &sinkv1.Listing{Id: i / 2}}); err != nil {
				return err
			}
		}
	case "begins-flood": // begins list after list
		for i := uint64(1); ; i++ {
			if err := call.Send(&sinkv1.Up{Listing: &sinkv1.Listing{Id: i}, Credit: i}); err != nil {
				return err
			}
		}
	case "mixed-flood":
		for i := uint64(1); ; i++ {
			m := &sinkv1.Up{Ack: i % 2, Listing: &sinkv1.Listing{Id: 1}}
			if i%3 == 0 {
				m = &sinkv1.Up{Credit: i}
			}
			if err := call.Send(m); err != nil {
				return err
			}
		}
	case "credit-flood":
		for credit := uint64(1) << 41; ; credit++ {
			if err := call.Send(&sinkv1.Up{Credit: credit}); err != nil {
				return err
			}
		}
	case "nonsense":
		_ = call.SendMsg(rawBytes("\xff\xff\xff\xff nonsense"))
	case "huge":
		_ = call.SendMsg(rawBytes(make([]byte, 64<<20)))
	case "no-reason":
		_ = call.Send(&sinkv1.Up{Rejections: []*sinkv1.Rejection{{Sequence: last}, {Sequence: last - 1, Why: strings.Repeat("x", 10_000)}}, Ack: last})
		return nil
	case "acknowledges":
		_ = call.Send(&sinkv1.Up{Ack: last})
		return nil
	case "leaves":
		return nil
	case "backwards":
		_ = call.Send(&sinkv1.Up{Ack: last})
		_ = call.Send(&sinkv1.Up{Ack: 1, Credit: 1})
		_ = call.Send(&sinkv1.Up{Ack: 0, Credit: 0})
		return nil
	case "own-error":
		return status.Error(codes.Unknown, "destination is down")
	}
	<-call.Context().Done()
	return nil
}

type scriptAdapter struct {
	plugin.NetRPCUnsupportedPlugin
	mode string
}

func (a scriptAdapter) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	sinkv1.RegisterSinkServer(s, script{mode: a.mode})
	return nil
}

func (scriptAdapter) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func serveScript(mode string) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: sinkv1.Handshake(), Plugins: plugin.PluginSet{sinkv1.Service: scriptAdapter{mode: mode}},
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			if mode == "no-room" { // for a stream beside that of the output and a health call
				o = append(o, grpc.MaxConcurrentStreams(2))
			}
			return grpc.NewServer(append(o, grpc.ForceServerCodecV2(rawCodec{}))...)
		},
		Logger: hclog.NewNullLogger(),
	})
}
