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

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/control"
	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/web"
)

// server is what serves until it is closed.
type server interface {
	Serve(l net.Listener) error
	Close() error
}

// serveUntil serves in the background until stop is called.
func serveUntil(s server, l net.Listener, log *slog.Logger) (stop func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Serve(l); err != nil {
			log.Error("a listener is not served any longer", "address", l.Addr().String(), "err", err)
		}
	}()
	return func() {
		if err := s.Close(); err != nil {
			log.Warn("a listener is not closed well", "address", l.Addr().String(), "err", err)
		}
		<-ended
	}
}

// serve serves metrics, health, status and the page over HTTP until stop is called. node is the name of this one.
func serve(service *config.Service, node string, pl *pipeline.Pipeline, log *slog.Logger) (stop func(), err error) {
	if service.Metrics == "" {
		return func() {}, nil
	}
	token, err := service.Token()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", service.Metrics)
	if err != nil {
		return nil, fmt.Errorf("service.metrics: %w", err)
	}
	o := metrics.ServerOptions{Hosts: append(service.HostNames(), node), Token: token, Log: log, Losses: pl.Losses}
	if service.ServesPage() {
		if o.Page, err = web.New(pl, web.Options{Hostname: node, Version: version, Token: token}); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	srv := metrics.NewServer(metrics.NewCollector(pl.Snapshot), func() any { return pl.Status() }, pl.Health, o)
	log.Info("serving metrics, health and status", "address", l.Addr().String(), "page", o.Page != nil)
	return serveUntil(srv, l, log), nil
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

// serveControl serves the control socket until stop is called. A socket that the configuration does not ask for is no reason not to run.
func serveControl(service *config.Service, configPath, hostname string, pl *pipeline.Pipeline, reloads *reloader, log *slog.Logger) (stop func(), err error) {
	o := control.ListenOptions{Path: control.DefaultPath(), Make: true, Mode: control.DefaultMode, Log: log}
	if service.Control != nil {
		o.Path, o.Make = *service.Control, false
	}
	if o.Path == "" {
		return func() {}, nil
	}
	if service.ControlMode != nil {
		o.Mode = fs.FileMode(*service.ControlMode)
	}
	if o.Group, err = service.ControlGroupID(); err != nil {
		return nil, fmt.Errorf("service.control_group: %w", err)
	}
	l, err := control.Listen(o)
	if err != nil && service.Control == nil {
		log.Warn("there is no control socket: status is served over HTTP alone, and tail, top and reload cannot ask; service.control names another place",
			"path", o.Path, "err", err)
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("service.control: %w", err)
	}
	absolute, err := filepath.Abs(configPath)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the path of the configuration: %w", err), l.Close())
	}
	srv := control.NewServer(control.Daemon{
		Version: version, Config: absolute, Pages: pages(pl), Log: log,
		Events: &control.Events{Tail: pl.Tail(), Names: pl.Names, Latest: pl.LatestNames, Hostname: hostname},
		Top:    &control.Top{Status: func() any { return glance(pl) }, Health: func() error { return errors.Join(pl.Health(), pl.Losses()) }},
		Reload: func(ctx context.Context) (control.Outcome, error) {
			log.Info("reopening files and reading the configuration: asked for at the control socket")
			pl.Reopen()
			return reloads.ask(ctx)
		},
	})
	log.Info("serving the control socket", "path", o.Path)
	return serveUntil(srv, l, log), nil
}
