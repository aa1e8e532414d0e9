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

	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// live is a process that has shaken hands.
type live struct {
	command *command
	client  *plugin.Client
	conn    atomic.Pointer[grpc.ClientConn]
	sink    sinkv1.SinkClient
	output  *output
	lists   *rate.Limiter
	started time.Time
	timing  timing

	verdict func(error) // tells the breaker how the process does; only the first call counts
	reopen  chan struct{}
	ctx     context.Context // ends when the process is told to end
	cancel  context.CancelFunc
	endOnce sync.Once
	health  atomic.Pointer[sinkv1.HealthResponse]
}

// spec is what a process is started from.
type spec struct {
	options *options
	where   *instance
	adopted *adopted
	output  *output
	timing  timing
	version int
	confine func(pid int) error
	request *sinkv1.ConfigureRequest
}

// launch starts a process, shakes hands and hands over the configuration. A process that does not do its part in time is killed; so is
// one that is not needed any longer because ctx has ended.
func launch(ctx context.Context, s spec) (*live, *sinkv1.ConfigureResponse, error) {
	pinned, err := s.options.open()
	if err != nil {
		return nil, nil, err
	}
	defer pinned.Close() // nil is no file
	ctx, cancel := context.WithTimeoutCause(ctx, s.timing.start, errStart)
	defer cancel()
	p := &live{
		output: s.output, started: time.Now(), timing: s.timing, verdict: func(error) {},
		reopen: make(chan struct{}, 1), lists: rate.NewLimiter(rate.Limit(s.timing.lists), listBurst),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	stop := func() bool { return true }
	config := p.config(s, pinned, func() {
		stop = context.AfterFunc(ctx, func() { p.command.kill("") })
	})
	p.client = plugin.NewClient(config)
	answer, err := p.greet(ctx, config, s.request)
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

// config is what go-plugin starts the process from. started is called when there is a command that can be killed.
func (p *live) config(s spec, pinned *os.File, started func()) *plugin.ClientConfig {
	out := s.output.writer()
	return &plugin.ClientConfig{
		HandshakeConfig:  sinkv1.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{s.version: {sinkv1.Service: adapter{}}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         s.options.MTLS,
		SkipHostEnv:      true,
		StartTimeout:     s.timing.start,
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard}),
		Stderr:           out,
		SyncStdout:       s.output.paidWriter(), // by its stream
		SyncStderr:       s.output.paidWriter(),
		GRPCDialOptions:  p.dialOptions(),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: s.where.path},
		RunnerFunc: func(_ hclog.Logger, template *exec.Cmd, dir string) (runner.Runner, error) {
			if err := own(dir, s.options); err != nil {
				return nil, err
			}
			cmd := s.options.cmd(pinned)
			cmd.Env = append(s.options.environment(), template.Env...)
			cmd.Env = append(cmd.Env, marker+"="+s.where.path)
			cmd.SysProcAttr = attributes(s.options)
			p.command = &command{
				cmd: cmd, dir: dir, where: s.where, adopted: s.adopted, confine: s.confine, prints: s.output.writer(), done: make(chan struct{}),
			}
			started()
			return p.command, nil
		},
	}
}

// own gives the directory of a socket to the user that the process runs as.
func own(dir string, o *options) error {
	if o.uid == nil && o.gid == nil {
		return nil
	}
	uid, gid := -1, -1
	if o.uid != nil {
		uid = int(*o.uid)
	}
	if o.gid != nil {
		gid = int(*o.gid)
	}
	return os.Chown(dir, uid, gid)
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
		return nil, fmt.Errorf("Configure fails: %s", printable(status.Convert(err).Message())) //nolint:revive // the name of the call
	}
	return answer, nil
}

// oneLine makes one line of go-plugin's explanations.
func oneLine(text string) string {
	text = printable(strings.Join(strings.Fields(text), " "))
	return strings.TrimSuffix(text, " Failed to read any lines from plugin's stdout")
}

// explain adds to an error how the process has ended, if it has, and what it said last.
func (p *live) explain(err error) error {
	if p.command == nil {
		return err
	}
	if p.ends() {
		err = fmt.Errorf("the plugin has ended, %s: %w", p.command.how(), err)
	}
	if lines := p.output.lastLines(); len(lines) > 0 {
		err = fmt.Errorf("%w; it said last: %s", err, lines[len(lines)-1])
	}
	return err
}

// alive reports whether the process runs and was not told to end.
func (p *live) alive() bool {
	select {
	case <-p.command.done:
		return false
	case <-p.ctx.Done():
		return false
	default:
		return true
	}
}

// watch asks the process for its health until it ends. One that does not answer in time is killed.
func (p *live) watch(every, patience time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		p.ask(patience)
		p.command.adopted.sweep(false)
		select {
		case <-p.command.done:
			return
		case <-p.ctx.Done():
			return
		case <-p.reopen:
			ctx, cancel := context.WithTimeout(p.ctx, patience)
			_, _ = p.sink.Reopen(ctx, &sinkv1.ReopenRequest{}) // a plugin need not have it
			cancel()
		case <-ticker.C:
		}
		if time.Since(p.started) > p.timing.steady {
			p.verdict(nil)
		}
	}
}

// ends waits a moment for the process to end, whose connection already has.
func (p *live) ends() bool {
	timer := time.NewTimer(p.timing.stop)
	defer timer.Stop()
	select {
	case <-p.command.done:
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
		p.command.kill(fmt.Sprintf("has not answered for %v", patience))
	case !p.alive() || status.Code(err) == codes.Unavailable && p.ends():
	default:
		p.command.kill("does not say how it is: " + printable(status.Convert(err).Message()))
	}
}

// end ends the process: it is asked, if there is time for that, and killed if it does not. It returns when the process and everything
// around it is gone.
func (p *live) end(gently bool) {
	p.endOnce.Do(func() {
		p.cancel()
		if p.command == nil {
			return // it was never started
		}
		// go-plugin asks without a limit of time: whoever does not listen is killed before.
		timer := time.AfterFunc(p.timing.shutdown, func() { p.command.kill("told to end and did not") })
		defer timer.Stop()
		if gently {
			_ = p.command.stdin.Close() // it may be closed already
		} else {
			p.command.kill("")
		}
		p.output.free()
		p.client.Kill()
		if conn := p.conn.Load(); conn != nil {
			_ = conn.Close() // it is, unless the handshake failed half way
		}
		<-p.command.done
		p.command.closeOurs()
		_ = os.RemoveAll(p.command.dir) // swept at the next start
	})
}
