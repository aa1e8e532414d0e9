package pluginhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rtflow/pipelined/internal/process"
	"github.com/rtflow/pipelined/internal/terminal"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// live is a process that has shaken hands.
type live struct {
	process *process.Process
	client  *plugin.Client
	dir     string // of its socket
	conn    atomic.Pointer[grpc.ClientConn]
	sink    sinkv1.SinkClient
	output  *process.Output
	drained chan struct{}   // closed when what it prints is read to the end
	pay     func(bytes int) // waits until so much output may be read
	lists   *rate.Limiter
	started time.Time
	timing  timing

	verdict func(error) // tells the breaker whether the process does well; only the first call counts
	reopen  chan struct{}
	ctx     context.Context // ends when the process is told to end
	cancel  context.CancelFunc
	endOnce sync.Once
	health  atomic.Pointer[sinkv1.HealthResponse]
}

// launchConfig is what a plugin's process is started with.
type launchConfig struct {
	processes *process.Supervisor
	dir       string // for the directory of its socket
	options   *options
	group     *process.Group
	output    *process.Output
	timing    timing
	version   int
	request   *sinkv1.ConfigureRequest
}

// launch starts a process, shakes hands and hands over the configuration. A process that does not do its part in time is
// killed; so is one that is not needed any longer because ctx has ended.
func launch(ctx context.Context, c launchConfig) (*live, *sinkv1.ConfigureResponse, error) {
	proc, err := c.processes.Process(&c.options.Spec)
	if err != nil {
		return nil, nil, err
	}
	proc.Group = c.group
	ctx, cancel := context.WithTimeoutCause(ctx, c.timing.start, errStart)
	defer cancel()
	p := &live{
		process: proc, output: c.output, drained: make(chan struct{}), pay: c.output.Pay, started: time.Now(), timing: c.timing, verdict: func(error) {},
		reopen: make(chan struct{}, 1), lists: rate.NewLimiter(rate.Limit(c.timing.lists), listBurst),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, func() { proc.Kill("") })
	config := p.config(c)
	p.client = plugin.NewClient(config)
	answer, err := p.greet(ctx, config, c.request)
	stop()
	switch {
	case ctx.Err() == nil:
	case err == nil:
		err = context.Cause(ctx)
	default:
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if err != nil {
		err = p.explain(err)
		p.end(false)
		return nil, nil, err
	}
	return p, answer, nil
}

var errStart = errors.New("did not start in time")

// config is what go-plugin starts the process from.
func (p *live) config(c launchConfig) *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig:  sinkv1.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{c.version: {sinkv1.Service: adapter{}}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         c.options.MTLS,
		SkipHostEnv:      true,
		StartTimeout:     2 * c.timing.start, // launch gives up before, and says so
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard}),
		Stderr:           c.output.Writer(),
		SyncStdout:       c.output.PaidWriter(), // the stream counts what is read
		SyncStderr:       c.output.PaidWriter(),
		GRPCDialOptions:  p.dialOptions(),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: c.dir},
		RunnerFunc: func(_ hclog.Logger, template *exec.Cmd, dir string) (runner.Runner, error) {
			p.dir = dir
			if err := c.options.Chown(dir); err != nil {
				return nil, err
			}
			p.process.Env = template.Env
			return &command{process: p.process, path: c.options.Command[0], dir: dir, prints: c.output.Writer(), drained: p.drained}, nil
		},
	}
}

// adapter makes the client of the service for go-plugin.
type adapter struct{ plugin.NetRPCUnsupportedPlugin }

var _ plugin.GRPCPlugin = adapter{}

func (adapter) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("pluginhost: this is the daemon's side")
}

func (adapter) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return sinkv1.NewSinkClient(conn), nil
}

// greet shakes hands and hands over the configuration.
func (p *live) greet(ctx context.Context, config *plugin.ClientConfig, req *sinkv1.ConfigureRequest) (*sinkv1.ConfigureResponse, error) {
	if _, err := p.client.Start(); err != nil {
		return nil, fmt.Errorf("the handshake fails: %s", oneLine(err.Error()))
	}
	if config.AutoMTLS && config.TLSConfig.RootCAs == nil {
		return nil, errors.New("the handshake fails: the plugin has no certificate to show; if it cannot have one, set mtls = false")
	}
	protocol, err := p.client.Client()
	if err != nil {
		return nil, fmt.Errorf("the connection fails: %s", oneLine(err.Error()))
	}
	raw, err := protocol.Dispense(sinkv1.Service)
	if err != nil {
		return nil, err
	}
	p.sink = raw.(sinkv1.SinkClient)
	answer, err := p.sink.Configure(ctx, req)
	switch status.Code(err) {
	case codes.OK:
	case codes.DeadlineExceeded, codes.Canceled: // the plugin's end of the connection may see the deadline first
		return nil, errStart
	default:
		return nil, fmt.Errorf("Configure fails: %s", terminal.Line(status.Convert(err).Message())) //nolint:revive // the name of the call
	}
	return answer, nil
}

// oneLine makes one line of go-plugin's explanations.
func oneLine(text string) string {
	text = terminal.Line(strings.Join(strings.Fields(text), " "))
	return strings.TrimSuffix(text, " Failed to read any lines from plugin's stdout")
}

// explain adds to an error how the process has ended, if it has, and what it said last.
func (p *live) explain(err error) error {
	if p.process.PID() == 0 {
		return err // it was never started
	}
	if p.ends() {
		err = fmt.Errorf("the plugin has ended, %s: %w", p.process.Exit(), err)
		p.soon(p.drained)
	}
	if lines := p.output.Last(); len(lines) > 0 {
		err = fmt.Errorf("%w; it said last: %s", err, lines[len(lines)-1])
	}
	return err
}

// alive reports whether the process runs and was not told to end.
func (p *live) alive() bool {
	select {
	case <-p.process.Done():
		return false
	case <-p.ctx.Done():
		return false
	default:
		return true
	}
}

// watch asks the process for its health until it ends, and calls reap each time. A process that does not answer within
// patience is killed.
func (p *live) watch(every, patience time.Duration, reap func()) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		p.ask(patience)
		reap()
		select {
		case <-p.process.Done():
			return
		case <-p.ctx.Done():
			return
		case <-p.reopen:
			ctx, cancel := context.WithTimeout(p.ctx, patience)
			_, _ = p.sink.Reopen(ctx, &sinkv1.ReopenRequest{}) // a plugin need not implement it
			cancel()
		case <-ticker.C:
		}
		if time.Since(p.started) > p.timing.steady {
			p.verdict(nil)
		}
	}
}

// ends waits a moment for the process to end, after its connection has ended.
func (p *live) ends() bool { return p.soon(p.process.Done()) }

// soon waits a moment for a channel to be closed, and reports whether it was.
func (p *live) soon(closed <-chan struct{}) bool {
	timer := time.NewTimer(p.timing.stop)
	defer timer.Stop()
	select {
	case <-closed:
		return true
	case <-timer.C:
		return false
	}
}

func (p *live) ask(patience time.Duration) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	answer, err := p.sink.Health(ctx, &sinkv1.HealthRequest{})
	switch {
	case err == nil:
		if s := answer.GetStatus(); s != "" && !json.Valid([]byte(s)) {
			answer.Status = ""
		}
		p.health.Store(answer)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		p.process.Kill(fmt.Sprintf("has not answered for %v", patience))
	case !p.alive() || status.Code(err) == codes.Unavailable && p.ends():
	default:
		p.process.Kill("does not say how it is: " + terminal.Line(status.Convert(err).Message()))
	}
}

// end ends the process: it is asked, if there is time for that, and killed if it does not. It returns when the process and
// everything around it is gone.
func (p *live) end(gently bool) {
	p.endOnce.Do(func() {
		p.cancel()
		// go-plugin asks without a limit of time: a process that does not listen is killed before.
		timer := time.AfterFunc(p.timing.shutdown, func() { p.process.Kill("told to end and did not") })
		defer timer.Stop()
		if gently {
			_ = p.process.CloseInput() // it may be closed already
		} else {
			p.process.Kill("")
		}
		p.output.Free()
		p.client.Kill()
		if conn := p.conn.Load(); conn != nil {
			_ = conn.Close() // it is, unless the handshake failed half way
		}
		p.process.Close()
		_ = os.RemoveAll(p.dir) // swept at the next start
	})
}
