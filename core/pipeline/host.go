package pipeline

import (
	"time"

	"github.com/rtflow/pipelined/internal/routes"
)

// host follows the interfaces and routes of the kernel for the zone table. The zero value follows none.
type host struct {
	follower *routes.Follower
	failed   *routes.Status // if it could not begin
}

// followHost begins to follow the kernel that a live pipeline runs on. Without it zones are what the configuration says.
func (pl *Pipeline) followHost() {
	p := pl.plan
	if !p.live || !p.options.FollowHost {
		return
	}
	var err error
	pl.host.follower, err = routes.Open(routes.Config{
		Zones: p.zones, Routes: p.zonesByRoute(), Warn: func(msg string, args ...any) { p.options.Log.Warn(msg, args...) }, //nolint:sloglint // the follower words it
		Applied: p.options.applied,
	})
	if err != nil {
		p.options.Log.Warn("interfaces and routes are not followed: zones are those of the configuration", "err", err)
		pl.host.failed = &routes.Status{Error: err.Error(), Since: time.Now()}
	}
}

// close ends it.
func (h *host) close() error {
	if h.follower == nil {
		return nil
	}
	return h.follower.Close()
}

// status returns what is known of the kernel, nil if it is not followed.
func (h *host) status() *routes.Status {
	if h.follower == nil {
		return h.failed
	}
	st := h.follower.Status()
	return &st
}
