package plan

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/sdk/event"
)

// Describe writes a description of the pipeline for people.
func (p *Plan) Describe(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "node\t%s\n", p.Hostname)
	for _, z := range p.File.Zones {
		what := z.Interfaces
		for _, pfx := range z.Prefixes {
			what = append(what, pfx.String())
		}
		fmt.Fprintf(t, "zone\t%s\t%s\n", z.Name, strings.Join(what, ", "))
	}
	for _, s := range p.Sources {
		mode := "capture: waits for its sinks"
		switch {
		case s.Events:
			mode = "live: events"
		case s.Live && s.Incoming:
			mode = "live: packets that come in"
		case s.Live:
			mode = "live: packets that come in, and those that leave"
		}
		if s.Peer != "" {
			mode = "live, in the path: what is let through leaves by " + s.Peer
		}
		fmt.Fprintf(t, "source\t%s\t%s\t%s\n", s.Name, strings.Join(append([]string{s.Plugin}, s.Interfaces...), " "), mode)
	}
	for _, h := range p.File.Pipeline.Hooks {
		fmt.Fprintf(t, "hook\t%s\t%s\n", h.Name, h.Plugin)
	}
	for _, k := range event.Kinds() {
		if r := p.File.Admission.Rates[k]; k.Telemetry() {
			fmt.Fprintf(t, "limit\t%s\t%s\n", k, describeRate(r))
		}
	}
	fmt.Fprintf(t, "limit\tunanswered\t%s\n", describeRate(p.File.Admission.Unanswered))
	for _, s := range p.Sinks {
		only := "every kind"
		if s.Only != event.AllKinds {
			only = kindList(s.Only)
		}
		fmt.Fprintf(t, "sink\t%s\t%s\t%d records in flight (%d telemetry, %d of a kind), %s; %s\n",
			s.Name, s.Plugin, s.Replay.Slots, s.Replay.Telemetry, s.Replay.PerKind, s.Replay.Overflow, only)
		if o := s.Spool; o != nil {
			fmt.Fprintf(t, "spool\t%s\t%s\t%d bytes, sync %s\n", s.Name, cmp.Or(o.Path, "in the state directory"), o.Size, o.Sync)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "ok: %s\n", p.summary())
	return err
}

// summary returns the numbers of chained sources, hooks and sinks.
func (p *Plan) summary() string {
	parts := []string{counted(len(p.Sources), "source", "sources")}
	held := make(map[string]hook.Held)
	var sorts []string
	for _, c := range p.File.Pipeline.Hooks {
		for _, h := range p.checked {
			if h.Name != c.Name {
				continue
			}
			for _, one := range h.Holds {
				sum, known := held[one.One]
				if !known {
					sorts = append(sorts, one.One)
				}
				one.N += sum.N
				held[one.One] = one
			}
		}
	}
	parts = append(parts, counted(len(p.File.Pipeline.Hooks), "hook", "hooks"))
	for _, sort := range sorts {
		parts = append(parts, counted(held[sort].N, held[sort].One, held[sort].Many))
	}
	parts = append(parts, counted(len(p.File.Zones), "zone", "zones"), counted(len(p.Sinks), "sink", "sinks"))
	return strings.Join(parts, ", ")
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func kindList(set event.KindSet) string {
	var names []string
	for _, k := range event.Kinds() {
		if set.Has(k) && k != event.Loss {
			names = append(names, k.String())
		}
	}
	return strings.Join(names, ", ")
}

func describeRate(r admission.Rate) string {
	if r.PerSecond == 0 {
		return "no limit"
	}
	return fmt.Sprintf("%d/s per zone, burst %d", r.PerSecond, r.Burst)
}
