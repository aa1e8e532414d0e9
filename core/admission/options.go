package admission

import (
	"fmt"
	"strings"

	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/table"
	"github.com/rtflow/pipelined/sdk/event"
)

// Options is the table [admission]: how many events each ingress zone may make.
type Options struct {
	// Rates limits the telemetry kinds; the entries of the other kinds are not used.
	Rates [event.NumKinds]Rate
	// Unanswered limits the records of sessions that nobody has answered, all of a zone together.
	Unanswered Rate
}

// rates returns the rates by class of the limiter.
func (o *Options) rates() [numClasses]Rate {
	return [numClasses]Rate{o.Rates[event.PolicyDeny], o.Rates[event.ScreenDrop], o.Rates[event.FilterLog], o.Unanswered}
}

// MaxRate is the highest rate and the highest burst: the limiter counts in nanoseconds.
const MaxRate = 1_000_000_000

// DefaultRate returns the limit that holds where the table sets nothing.
func DefaultRate() Rate { return Rate{PerSecond: 1000, Burst: 1024} }

// Read reads the table [admission] and records its mistakes: a rate for all, and tables for one kind on top of it.
func Read(s table.Section) (o Options) {
	var set struct {
		rateTable
		PolicyDeny   rateTable `toml:"policy-deny"`
		ScreenDrop   rateTable `toml:"screen-drop"`
		FilterLog    rateTable `toml:"filter-log"`
		Unanswered   rateTable `toml:"unanswered"`
		SessionOpen  unlimited `toml:"session-open,unlisted"`
		SessionClose unlimited `toml:"session-close,unlisted"`
		Loss         unlimited `toml:"loss,unlisted"`
	}
	set.SessionOpen.kind, set.SessionClose.kind, set.Loss.kind = event.SessionOpen, event.SessionClose, event.Loss
	s.Decode(&set)
	general := set.over(DefaultRate(), s, "")
	o.Rates[event.PolicyDeny] = set.PolicyDeny.over(general, s, "policy-deny")
	o.Rates[event.ScreenDrop] = set.ScreenDrop.over(general, s, "screen-drop")
	o.Rates[event.FilterLog] = set.FilterLog.over(general, s, "filter-log")
	o.Unanswered = set.Unanswered.over(general, s, "unanswered")
	return o
}

// rateTable is a Rate as a table sets it; nil is missing, or cannot be read.
type rateTable struct {
	Rate  *int64 `toml:"rate"`
	Burst *int64 `toml:"burst"`
}

// over returns a rate with the table at a key on top.
func (t rateTable) over(r Rate, s table.Section, key string) Rate {
	if t.Rate != nil && table.InRange(s, keypath.Join(key, "rate"), *t.Rate, 0, MaxRate) {
		r.PerSecond = *t.Rate
	}
	if t.Burst != nil && table.InRange(s, keypath.Join(key, "burst"), *t.Burst, 1, MaxRate) {
		r.Burst = *t.Burst
	}
	return r
}

// unlimited takes the place of a kind's table and refuses it.
type unlimited struct{ kind event.Kind }

// UnmarshalTOML returns an error that says which kinds have a limit.
func (u *unlimited) UnmarshalTOML(any) error {
	var names []string
	for _, kind := range event.Kinds() {
		if kind.Telemetry() {
			names = append(names, kind.String())
		}
	}
	return fmt.Errorf("%s events have no limit of their own: only %s, unanswered have", u.kind, strings.Join(names, ", "))
}
