package sinkplugin

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// endGrace is how long a run may take to return when the process is told to end: what is left of the time is for the rest.
const endGrace = sinkv1.EndTime / 2

// Serve serves the sink until pipelined tells the process to end or is gone itself, then closes the sink if it is an
// io.Closer, and returns. It is all that main does. Started by anything but pipelined it says what it is and exits with
// status 1; with the argument --sample it prints the plugin's sample and exits with 0.
//
// What the process prints on standard output and error is in the daemon's log.
func Serve(p sdk.SinkPlugin) {
	handshake := sinkv1.Handshake()
	if os.Getenv(handshake.MagicCookieKey) != handshake.MagicCookieValue {
		if len(os.Args) == 2 && os.Args[1] == "--sample" {
			_, _ = io.WriteString(os.Stdout, p.Sample) // nobody is left to tell
			os.Exit(0)
		}
		explain(os.Stderr, p)
		os.Exit(1)
	}
	s := newService(p)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: handshake,
		VersionedPlugins: map[int]plugin.PluginSet{
			sinkv1.Version: {sinkv1.Service: &adapter{service: s}},
		},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			server := grpc.NewServer(append(options, serverOptions()...)...)
			go watchParent(os.Stdin, server)
			return server
		},
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr}),
	})
	s.end(endGrace)
}

// serverOptions are tuned for few large messages in one direction.
func serverOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(sinkv1.MaxDown),
		grpc.InitialWindowSize(flowWindow), grpc.InitialConnWindowSize(flowWindow),
		grpc.ReadBufferSize(ioBuffer), grpc.WriteBufferSize(ioBuffer),
	}
}

const (
	flowWindow = 4 << 20 // bytes under way on the connection: more than a window of credits
	ioBuffer   = 256 << 10
)

// watchParent ends the server when the daemon is gone: then standard input, a pipe that the daemon holds, ends. It helps where the
// kernel's parent-death signal is lost, as with executables that have file capabilities.
func watchParent(stdin io.Reader, server *grpc.Server) {
	_, _ = io.Copy(io.Discard, stdin) // whatever its end looks like
	server.Stop()
}

func explain(w io.Writer, p sdk.SinkPlugin) {
	program := filepath.Base(os.Args[0])
	fmt.Fprintf(w, `%s is the sink %q for pipelined: %s.
It is no command: pipelined starts it. In pipeline.toml:

    [sinks.NAME]
    plugin  = "exec"
    command = "/path/to/%s"

%s --sample prints its options. pipelined plugin test ./%s tries it.
`, program, p.Name, p.Summary, program, program, program)
}

// adapter is the service as go-plugin takes it.
type adapter struct {
	plugin.NetRPCUnsupportedPlugin
	service *service
}

var _ plugin.GRPCPlugin = (*adapter)(nil)

func (a *adapter) GRPCServer(_ *plugin.GRPCBroker, server *grpc.Server) error {
	sinkv1.RegisterSinkServer(server, a.service)
	return nil
}

func (a *adapter) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, sdk.Error("sinkplugin: this is the plugin's side")
}
