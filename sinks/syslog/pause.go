package syslog

import (
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/rtflow/pipelined/sdk/event"
)

const (
	firstPause = 100 * time.Millisecond
	maxPause   = 30 * time.Second
)

// pause is the time between attempts to connect: it doubles from firstPause to maxPause. The zero value is ready to use.
type pause struct {
	times *backoff.ExponentialBackOff // nil before the first pause
	since event.Seq                   // acknowledged when it last grew: progress begins anew
}

// grow returns how long to wait now.
func (p *pause) grow(acked event.Seq) time.Duration {
	switch {
	case p.times == nil:
		p.times = &backoff.ExponentialBackOff{InitialInterval: firstPause, Multiplier: 2, MaxInterval: maxPause}
		p.times.Reset()
	case acked > p.since:
		p.times.Reset()
	}
	p.since = acked
	return p.times.NextBackOff()
}
