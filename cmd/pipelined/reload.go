package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/pipeline"
)

// reloader reads the configuration again for the pipeline that runs.
type reloader struct {
	path     string
	problems io.Writer // of the configuration
	log      *slog.Logger
	wanted   chan struct{} // a token for each request, and for those that come before it is served
}

func newReloader(path string, problems io.Writer, log *slog.Logger) *reloader {
	return &reloader{path: path, problems: problems, log: log, wanted: make(chan struct{}, 1)}
}

// request has the configuration read again, from the beginning if it is being read.
func (r *reloader) request() {
	select {
	case r.wanted <- struct{}{}:
	default:
	}
}

// run serves requests until ctx ends.
func (r *reloader) run(ctx context.Context, pl *pipeline.Pipeline) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wanted:
			if ctx.Err() == nil {
				r.reload(ctx, pl)
			}
		}
	}
}

// reload reads the configuration and hands it to the pipeline. Whatever is wrong with it, the pipeline goes on with the one that it has.
func (r *reloader) reload(ctx context.Context, pl *pipeline.Pipeline) {
	notifyReloading(r.log)
	defer func() {
		if ctx.Err() == nil { // else it is stopping, which the service manager has been told
			notify(r.log, daemon.SdNotifyReady)
		}
	}()
	before := pl.Configuration().Number
	changed, err := r.try(ctx, pl)
	if err != nil {
		r.log.Error("the configuration is not taken over; the former one goes on", "config", r.path, "err", err, "number", before)
		return
	}
	if !changed {
		r.log.Info("nothing has changed in the configuration: the one that runs goes on", "config", r.path, "number", before)
		return
	}
	r.log.Info("the configuration is taken over", "config", r.path, "number", pl.Configuration().Number)
}

func (r *reloader) try(ctx context.Context, pl *pipeline.Pipeline) (changed bool, err error) {
	err = func() error {
		if info, err := os.Stat(r.path); err != nil {
			return err
		} else if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no regular file: it was read at the start, and is not read again", r.path)
		}
		return nil
	}()
	if err != nil {
		pl.Refuse(err)
		return false, err
	}
	p, err := plan(ctx, r.problems, planOptions{path: r.path, daemon: true}, pipeline.Options{Log: r.log, LookupInterface: lookupInterface})
	if err != nil {
		if errors.Is(err, errReported) {
			err = errors.New("it has mistakes, see above; pipelined check shows them")
		}
		pl.Refuse(err)
		return false, err
	}
	changed, err = pl.Reload(p.Plan)
	if closeErr := p.host.Close(); closeErr != nil {
		r.log.Warn("plugins leave something behind", "err", closeErr)
	}
	return changed, err
}

// notifyReloading tells the service manager that the configuration is read again, since when (sd_notify(3)).
func notifyReloading(log *slog.Logger) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		log.Warn("systemd cannot be notified", "err", err)
		return
	}
	notify(log, fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1e3))
}
