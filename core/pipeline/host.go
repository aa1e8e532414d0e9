package pipeline

import (
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/internal/routes"
)

// host follows the interfaces and routes of the kernel for a zone table. A nil one follows none.
type host struct {
	follower *routes.Follower
	failed   *routes.Status // if it could not begin
}

// followHost begins to follow the kernel for the zones of a plan, which has the zones of the configuration alone if that fails. It
// returns nil for what is not live.
func (pl *Pipeline) followHost(p *plan.Plan) *host {
	if !p.Live || !pl.options.FollowHost {
		return nil
	}
	h := new(host)
	var err error
	h.follower, err = routes.Open(routes.Config{
		Zones: p.Zones, Routes: p.ZonesByRoute(), Warn: func(msg string, args ...any) { pl.log.Warn(msg, args...) }, //nolint:sloglint // the follower words it
		Applied: pl.options.applied,
	})
	if err != nil {
		pl.log.Warn("interfaces and routes are not followed: zones are those of the configuration", "err", err)
		h.failed = &routes.Status{Error: err.Error(), Since: time.Now()}
	}
	return h
}

// close ends it.
func (h *host) close() error {
	if h == nil || h.follower == nil {
		return nil
	}
	return h.follower.Close()
}

// status returns what is known of the kernel, nil if it is not followed.
func (h *host) status() *routes.Status {
	switch {
	case h == nil:
		return nil
	case h.follower == nil:
		return h.failed
	}
	st := h.follower.Status()
	return &st
}

// followed holds the host that is followed at present. It is safe for concurrent use.
type followed struct{ atomic.Pointer[host] }

// follow follows the kernel for another zone table from here on, and for the former one no longer.
func (pl *Pipeline) follow(h *host) {
	if err := pl.host.Swap(h).close(); err != nil {
		pl.log.Warn("what followed the kernel does not close", "err", err)
	}
}
