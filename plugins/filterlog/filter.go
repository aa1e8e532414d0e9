package filterlog

import (
	"math/bits"
	"slices"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// filter is one configured filter. Nothing but its tally changes after it is built.
type filter struct {
	id     uint32
	family packet.Family // 0 = any
	*matcher
	names   []string // of the terms
	actions []termActions
	quiet   []uint64    // the terms that accept and do nothing else, as bits
	tally   *hook.Tally // by the counters that terms name, in the order of the terms
}

// termActions is what a term does.
type termActions struct {
	kind    actionKind
	log     bool
	counter int // number in the tally, below 0 = none
}

func newFilter(o options, id uint32, workers int) *filter {
	f := &filter{id: id, matcher: newMatcher(o.Terms), names: o.names()}
	switch o.Family {
	case "inet":
		f.family = packet.IPv4
	case "inet6":
		f.family = packet.IPv6
	}
	var counters []string // terms may share one
	for _, t := range o.Terms {
		a := termActions{kind: accept, counter: -1}
		for _, do := range t.Then {
			if do.decides() {
				a.kind = do.kind
			}
			if do.counter != "" {
				if a.counter = slices.Index(counters, do.counter); a.counter < 0 {
					a.counter = len(counters)
					counters = append(counters, do.counter)
				}
			}
			a.log = a.log || do.log
		}
		f.actions = append(f.actions, a)
	}
	f.quiet = quiet(f.actions, len(f.words))
	f.tally = hook.NewTally(workers, counters)
	return f
}

// quiet returns the terms that accept and do nothing else, as bits.
func quiet(actions []termActions, words int) []uint64 {
	set := make([]uint64, words)
	for i, a := range actions {
		if a.kind == accept && !a.log && a.counter < 0 {
			set[i/64] |= 1 << (i % 64)
		}
	}
	return set
}

// verdicts and actions in records, by actionKind.
var (
	verdicts = [...]hook.Verdict{accept: hook.Pass, discard: hook.Drop, reject: hook.Prohibit, resetTCP: hook.Prohibit}
	recorded = [...]event.Action{accept: event.ActionPermit, discard: event.ActionDeny, reject: event.ActionReject, resetTCP: event.ActionReject}
)

// judge applies the terms in order. What matches none of them is discarded. At most one term is reported: the last of
// those that matched and log, with what became of the packet.
func (f *filter) judge(p *hook.Packet, at event.FilterSource, found *hook.Finding) hook.Verdict {
	if f.family != 0 && f.family != p.Family {
		return hook.Pass
	}
	decided, logged := discard, -1
	var a addresses
terms:
	for w := range f.words {
		for c := f.match(p, w, &a); c != 0; c &= c - 1 {
			if c&-c&f.quiet[w] != 0 && logged < 0 {
				return hook.Pass
			}
			i := w*64 + bits.TrailingZeros64(c)
			t := &f.actions[i]
			if t.counter >= 0 {
				f.tally.Count(p, t.counter)
			}
			if t.log {
				logged = i
			}
			if t.kind != nextTerm {
				decided = t.kind
				break terms
			}
		}
	}
	if logged >= 0 {
		*found = hook.Finding{
			Found: true, Kind: event.FilterLog, Action: recorded[decided], Filter: f.id, Term: uint32(logged), At: at,
		}
	}
	if decided == resetTCP && p.Proto == packet.ProtoTCP {
		return hook.Reject
	}
	return verdicts[decided]
}

// input is a filter on what comes in on some interfaces.
type input struct {
	*filter
	everywhere bool
	interfaces []uint32 // sorted
}

var _ hook.Hook = (*input)(nil)

// Inspect implements [hook.Hook].
func (in *input) Inspect(p *hook.Packet, f *hook.Finding) hook.Verdict {
	if !in.everywhere {
		if _, attached := slices.BinarySearch(in.interfaces, p.Interface); !attached {
			return hook.Pass
		}
	}
	return in.judge(p, event.FilterInput, f)
}

// output is a filter on what goes to some zones.
type output struct {
	*filter
	zones []uint16 // sorted
}

var _ hook.Hook = (*output)(nil)

// Inspect implements [hook.Hook].
func (out *output) Inspect(p *hook.Packet, f *hook.Finding) hook.Verdict {
	if _, attached := slices.BinarySearch(out.zones, p.OutZone); !attached {
		return hook.Pass
	}
	return out.judge(p, event.FilterOutput, f)
}
