package pluginkit

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/sinkplugin"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// The test binary is the plugin that is tried: with "plugin" as its first argument it is the one with that fault.
const pluginArg = "plugin"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == pluginArg {
		serve(os.Args[2])
		return
	}
	goleak.VerifyTestMain(m)
}

func serve(fault string) {
	switch fault {
	case "any-version", "acknowledges-blindly", "chokes", "wide-open":
		serveRaw(fault)
	case "runs-alone":
		if os.Getenv("PIPELINED_PLUGIN") == "" {
			time.Sleep(time.Hour)
		}
		sinkplugin.Serve(plugged(fault))
	case "lingers":
		sinkplugin.Serve(plugged(fault))
		time.Sleep(time.Hour)
	default:
		sinkplugin.Serve(plugged(fault))
	}
}

// plugged is a sink with a fault.
func plugged(fault string) sdk.SinkPlugin {
	return sdk.SinkPlugin{Name: "faulty", Configure: func(cfg sdk.Config, _ sdk.Env) sdk.Sink {
		if fault != "blind" {
			var o struct {
				Path string `toml:"path"`
			}
			if !cfg.Decode(&o) {
				return nil
			}
		}
		return faulty(fault)
	}}
}

type faulty string

func (f faulty) Run(ctx context.Context, s sdk.Stream) error {
	if f == "deaf" {
		ctx = context.WithoutCancel(ctx)
	}
	waiting := 0
	if f == "gives-up" {
		return errors.New("no destination")
	}
	for {
		b, err := s.Next(ctx, -1)
		if err != nil {
			return err
		}
		waiting += b.Len()
		switch f {
		case "hoards":
			if waiting < 500 {
				continue
			}
		case "one-short":
			if err := s.Ack(b.Last() - 1); err != nil {
				return err
			}
			continue
		case "crashes":
			if waiting > 1500 {
				os.Exit(1)
			}
		}
		if err := s.Ack(b.Last()); err != nil {
			return err
		}
	}
}

func (f faulty) Status() any {
	if f == "slow-health" {
		time.Sleep(slowAnswer + time.Second)
	}
	return nil
}

// raw is a service that does not use the kit.
type raw struct {
	sinkv1.UnimplementedSinkServer
	fault string
}

func (r raw) Configure(context.Context, *sinkv1.ConfigureRequest) (*sinkv1.ConfigureResponse, error) {
	return new(sinkv1.ConfigureResponse), nil
}

func (r raw) Health(context.Context, *sinkv1.HealthRequest) (*sinkv1.HealthResponse, error) {
	return new(sinkv1.HealthResponse), nil
}

func (r raw) Deliver(call grpc.BidiStreamingServer[sinkv1.Down, sinkv1.Up]) error {
	credit := uint64(1000)
	if r.fault == "wide-open" {
		credit = 1 << 40
	}
	up := &sinkv1.Up{Credit: credit}
	for {
		if err := call.Send(up); err != nil {
			return err
		}
		m, err := call.Recv()
		if err != nil {
			return nil
		}
		b := m.GetBatch()
		switch {
		case b != nil:
			up.Ack = b.GetFirst() + uint64(b.GetCount()) - 1
			up.Credit += uint64(b.GetCount())
		case m.GetDrain() != nil:
			return nil
		case m.GetMessage() == nil && r.fault == "chokes":
			return status.Error(codes.Internal, "what is this?")
		}
	}
}

type rawAdapter struct {
	plugin.NetRPCUnsupportedPlugin
	fault string
}

func (a rawAdapter) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	sinkv1.RegisterSinkServer(s, raw{fault: a.fault})
	return nil
}

func (rawAdapter) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func serveRaw(fault string) {
	version := sinkv1.Version
	if fault == "any-version" {
		version, _ = strconv.Atoi(os.Getenv("PLUGIN_PROTOCOL_VERSIONS"))
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  sinkv1.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{version: {sinkv1.Service: rawAdapter{fault: fault}}},
		GRPCServer:       plugin.DefaultGRPCServer, Logger: hclog.NewNullLogger(),
	})
}
