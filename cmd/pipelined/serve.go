package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/control"
	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/web"
)

// server is what serves until it is closed, or retired.
type server interface {
	Serve(l net.Listener) error
	Refuse()
	Retire(ctx context.Context) error
	Close() error
}

// endpoint is where a daemon is asked. Its parts are those of one configuration.
type endpoint struct {
	what     string // that makes another endpoint necessary when it is different
	says     string // the log, when it begins to answer
	listener net.Listener
	server   server
	served   chan struct{} // closed when it is not served any more
}

// serve begins to answer.
func (e *endpoint) serve(log *slog.Logger) {
	e.served = make(chan struct{})
	go func() {
		defer close(e.served)
		if err := e.server.Serve(e.listener); err != nil {
			log.Error("a listener is not served any longer", "address", e.listener.Addr().String(), "err", err)
		}
	}()
}

// endpoints are where a daemon is asked: over HTTP, and at its control socket. prepare and what it returns are used by one goroutine.
type endpoints struct {
	pl         *pipeline.Pipeline
	configPath string
	reloads    *reloader
	log        *slog.Logger

	ctx      context.Context // of those that are retired
	stopped  context.CancelFunc
	retiring sync.WaitGroup
	http     *endpoint     // nil: none
	control  *endpoint     // nil: none
	crowded  atomic.Uint64 // HTTP connections that were closed for newer ones
}

// newEndpoints returns the endpoints of a pipeline that do not answer yet. configPath and reloads are those of its configuration.
func newEndpoints(pl *pipeline.Pipeline, configPath string, reloads *reloader, log *slog.Logger) *endpoints {
	e := &endpoints{pl: pl, configPath: configPath, reloads: reloads, log: log}
	e.ctx, e.stopped = context.WithCancel(context.Background())
	return e
}

// serviceKeys are the keys of [service] that the command changes while the daemon runs.
var serviceKeys = []string{
	"metrics", "metrics_hosts", "metrics_token", "metrics_token_file", "page", "control", "control_group", "control_mode",
	"watch",
}

// moved is a change of endpoints that is prepared: the new ones listen, and nobody answers yet.
type moved struct {
	e             *endpoints
	http, control *endpoint // nil: none
}

// prepare opens what a configuration has and the one before did not. After an error nothing has changed.
func (e *endpoints) prepare(service *config.Service, node string) (*moved, error) {
	m := &moved{e: e, http: e.http, control: e.control}
	var err error
	if m.http, err = e.prepareHTTP(service, node); err != nil {
		return nil, err
	}
	if m.control, err = e.prepareControl(service); err != nil {
		m.control = e.control
		return nil, errors.Join(err, m.drop())
	}
	return m, nil
}

// drop closes what was opened.
func (m *moved) drop() error {
	var errs []error
	for _, p := range [][2]*endpoint{{m.http, m.e.http}, {m.control, m.e.control}} {
		if p[0] != p[1] && p[0] != nil {
			errs = append(errs, p[0].listener.Close())
		}
	}
	return errors.Join(errs...)
}

// take answers at the new endpoints, and lets the former ones end what they have begun.
func (m *moved) take() {
	e := m.e
	for _, p := range []struct {
		now **endpoint
		to  *endpoint
	}{{&e.http, m.http}, {&e.control, m.control}} {
		former := *p.now
		if former == p.to {
			continue
		}
		if p.to != nil {
			p.to.serve(e.log)
			e.log.Info(p.to.says, "address", p.to.listener.Addr().String()) //nolint:sloglint // one of two
		}
		if *p.now = p.to; former != nil {
			former.server.Refuse() // before the reload is said to be done: it may be about who is let in
			e.retiring.Go(func() {
				if err := former.server.Retire(e.ctx); err != nil {
					e.log.Warn("a listener is not closed well", "address", former.listener.Addr().String(), "err", err)
				}
				<-former.served
			})
		}
	}
}

// close ends all of them.
func (e *endpoints) close() {
	e.stopped()
	for _, p := range []*endpoint{e.http, e.control} {
		if p == nil {
			continue
		}
		if err := p.server.Close(); err != nil {
			e.log.Warn("a listener is not closed well", "address", p.listener.Addr().String(), "err", err)
		}
		<-p.served
	}
	e.retiring.Wait()
}

// prepareHTTP returns the endpoint for metrics, health, status and the page; nil if the configuration has none.
func (e *endpoints) prepareHTTP(service *config.Service, node string) (*endpoint, error) {
	if service.Metrics == "" {
		return nil, nil
	}
	token, err := service.Token()
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("%q %q %q %q %v", service.Metrics, service.HostNames(), token, node, service.ServesPage())
	if e.http != nil && e.http.what == what {
		return e.http, nil
	}
	l, err := e.listen(service.Metrics)
	if err != nil {
		return nil, fmt.Errorf("service.metrics: %w", err)
	}
	o := metrics.ServerOptions{Hosts: append(service.HostNames(), node), Token: token, Log: e.log, Losses: e.pl.Losses, Crowded: &e.crowded}
	if service.ServesPage() {
		if o.Page, err = web.New(e.pl, web.Options{Hostname: node, Version: version, Token: token}); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	srv := metrics.NewServer(metrics.NewCollector(e.pl.Snapshot), func() any { return e.pl.Status() }, e.pl.Health, o)
	return &endpoint{what: what, says: "serving metrics, health and status", listener: l, server: srv}, nil
}

// tcpListener is a listener with the address that the configuration has.
type tcpListener struct {
	*net.TCPListener

	configured string
}

// listen listens at an address. If the endpoint that there is has it, both have one socket, so that no connection is refused.
func (e *endpoints) listen(address string) (*tcpListener, error) {
	if e.http != nil {
		if former := e.http.listener.(*tcpListener); former.configured == address {
			return former.share()
		}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return &tcpListener{l.(*net.TCPListener), address}, nil
}

// share returns another listener of the same socket.
func (l *tcpListener) share() (*tcpListener, error) {
	file, err := l.File()
	if err != nil {
		return nil, err
	}
	shared, err := net.FileListener(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return &tcpListener{shared.(*net.TCPListener), l.configured}, nil
}

// pages answers at the control socket what the HTTP listener serves as well.
func pages(pl *pipeline.Pipeline) http.Handler {
	all := metrics.Handler(metrics.NewCollector(pl.Snapshot), func() any { return pl.Status() }, pl.Health)
	return metrics.Strict(all, pl.Health, pl.Losses)
}

// glance is the status without what is said of rules, of which there may be many.
func glance(pl *pipeline.Pipeline) pipeline.Status {
	st := pl.Status()
	st.Hooks, st.Unhit = nil, nil
	return st
}

// prepareControl returns the control socket; nil if there is none. A socket that the configuration does not ask for is no reason not to run.
func (e *endpoints) prepareControl(service *config.Service) (*endpoint, error) {
	o := control.ListenOptions{Path: control.DefaultPath(), Make: true, Mode: control.DefaultMode, Log: e.log}
	if service.Control != nil {
		o.Path, o.Make = *service.Control, false
	}
	if o.Path == "" {
		return nil, nil
	}
	if service.ControlMode != nil {
		o.Mode = fs.FileMode(*service.ControlMode)
	}
	var err error
	if o.Group, err = service.ControlGroupID(); err != nil {
		return nil, fmt.Errorf("service.control_group: %w", err)
	}
	what := fmt.Sprintf("%q %v %v", o.Path, o.Mode, o.Group)
	if c := e.control; c != nil {
		if c.what == what {
			return c, nil
		}
		if c.listener.Addr().String() == o.Path {
			return nil, &pipeline.RestartError{Changed: []string{"service.control_group", "service.control_mode"}}
		}
	}
	l, err := control.Listen(o)
	if err != nil && service.Control == nil {
		e.log.Warn("there is no control socket: status is served over HTTP alone, and tail, top and reload cannot ask; service.control names another place",
			"path", o.Path, "err", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("service.control: %w", err)
	}
	absolute, err := filepath.Abs(e.configPath)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the path of the configuration: %w", err), l.Close())
	}
	pl := e.pl
	srv := control.NewServer(control.Daemon{
		Version: version, Config: absolute, Pages: pages(pl), Log: e.log,
		Events: &control.Events{Tail: pl.Tail(), Names: pl.Names, Latest: pl.LatestNames, Hostname: pl.Hostname},
		Top:    &control.Top{Status: func() any { return glance(pl) }, Health: func() error { return errors.Join(pl.Health(), pl.Losses()) }},
		Reload: func(ctx context.Context) (control.Outcome, error) {
			e.log.Info("reopening files and reading the configuration: asked for at the control socket")
			pl.Reopen()
			return e.reloads.ask(ctx)
		},
	})
	return &endpoint{what: what, says: "serving the control socket", listener: l, server: srv}, nil
}
