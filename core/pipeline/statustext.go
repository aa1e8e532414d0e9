package pipeline

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/internal/terminal"
	"github.com/rtflow/pipelined/sdk/event"
)

// WriteText writes the status for people: the sources, the routes, the sinks and the ledger. The daemon answers at address and is healthy
// if unhealthy is nil. The members of Sources and of SinkStatus.Detail must be as encoding/json decodes them, with numbers as
// json.Number.
func (st *Status) WriteText(w io.Writer, address string, unhealthy error) error {
	health := "healthy"
	if unhealthy != nil {
		health = unhealthy.Error()
	}
	if st.Stopping {
		health = "stopping"
		if unhealthy != nil {
			health += ", " + unhealthy.Error()
		}
	}
	uptime := time.Duration(st.Uptime * float64(time.Second)).Round(time.Second)
	fmt.Fprintf(w, "pipelined at %s: %s, up %s, epoch %d\n", address, health, uptime, st.Epoch)
	if c := &st.Configuration; c.Number > 1 {
		fmt.Fprintf(w, "configuration %d since %s\n", c.Number, c.Since.Format(time.RFC3339))
	}
	if t := st.TakenOver; t != nil {
		fmt.Fprintf(w, "goes on where the last run stopped at %s: %d sessions, %d records, %.1f s without a daemon\n",
			t.Stopped.Format(time.RFC3339), t.Sessions+t.Known, t.Records, t.Gap)
	}
	if st.StateUnused != "" {
		fmt.Fprintf(w, "began anew: what the last run has kept cannot be used: %s\n", terminal.Text(st.StateUnused))
	}
	if c := &st.Configuration; c.Refused != "" {
		fmt.Fprintf(w, "the last reload was refused at %s: %s\n", c.RefusedAt.Format(time.RFC3339), terminal.Text(c.Refused))
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, name := range slices.Sorted(maps.Keys(st.Sources)) {
		fmt.Fprintf(t, "source %s\t%s\n", terminal.Text(name), scalars(st.Sources[name]))
		for _, text := range lists(st.Sources[name]) {
			fmt.Fprintf(t, "\t%s\n", text)
		}
	}
	if r := st.Routes; r != nil {
		fmt.Fprintf(t, "routes\tcount=%d prefixes=%d zones=%d interfaces=%d updated=%s\n",
			r.Routes, r.Prefixes, r.Zones, r.Interfaces, r.Updated.Format(time.RFC3339))
		if r.Error != "" {
			fmt.Fprintf(t, "\terror since %s: %s\n", r.Since.Format(time.RFC3339), terminal.Text(r.Error))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	names := slices.Sorted(maps.Keys(st.Sinks))
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "sink\tphase\tsent\tacked\tin flight\tlag records\tlag seconds\truns\t\n")
	for _, name := range names {
		s := st.Sinks[name]
		phase := s.Phase
		if phase == deliver.Running && !s.Up {
			phase = "waiting" // for its destination
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%.1f\t%d\t\n", terminal.Text(name), terminal.Text(string(phase)), s.Sent, s.Acked, s.InFlight, s.LagRecords, s.LagSeconds, s.Runs)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, name := range names {
		s := st.Sinks[name]
		name := terminal.Text(name)
		if sp := s.Spool; sp != nil {
			fmt.Fprintf(w, "sink %s: spool held=%d bytes=%d size=%d segments=%d\n", name, sp.Held, sp.Bytes, sp.Size, sp.Segments)
			if sp.Full != "" {
				fmt.Fprintf(w, "sink %s: the spool has no room: %s\n", name, terminal.Text(sp.Full))
			}
			if sp.LastError != "" {
				fmt.Fprintf(w, "sink %s: the spool's last error: %s\n", name, terminal.Text(sp.LastError))
			}
		}
		if detail := scalars(s.Detail); detail != "" {
			fmt.Fprintf(w, "sink %s: %s\n", name, detail)
		}
		if counters := nonZero(s.Counters); counters != "" {
			fmt.Fprintf(w, "sink %s: %s\n", name, counters)
		}
		if s.LastError != "" {
			fmt.Fprintf(w, "sink %s: last error at %s: %s\n", name, s.ErrorAt.Format(time.RFC3339), terminal.Text(s.LastError))
		}
		if s.Rejects > 0 {
			fmt.Fprintf(w, "sink %s: rejected %d records, the last: %s\n", name, s.Rejects, terminal.Text(s.LastReject))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(st.Unhit)) {
		fmt.Fprintf(w, "hook %s: no packet has hit %s\n", terminal.Text(name), some(st.Unhit[name]))
	}
	fmt.Fprintln(w)
	return writeLedger(w, &st.Ledger, st.Feed)
}

// WriteLedger writes the ledger for people, with the words of the status.
func (pl *Pipeline) WriteLedger(w io.Writer) error {
	l := pl.Ledger()
	return writeLedger(w, &l, pl.happened())
}

// writeLedger writes a ledger, and before it what sources of events have told: its sessions are others.
func writeLedger(w io.Writer, l *metrics.Ledger, told map[string]uint64) error {
	if told := nonZero(told); told != "" {
		fmt.Fprintf(w, "sources of events have told of %s; the sessions below are those of packets\n", told)
	}
	kinds := event.Kinds()
	kindNames := make([]string, len(kinds))
	for i, k := range kinds {
		kindNames[i] = k.String()
	}
	return l.WriteText(w, kindNames)
}

// most is how many names a line has.
const most = 8

// some returns the first names of a list, and how many there are more.
func some(names []string) string {
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more: see unhit in --json", len(names)-most)
		names = names[:most]
	}
	return terminal.Text(strings.Join(names, ", ")) + more
}

// lists returns the scalars of each object of a source's lists, such as its interfaces or its groups, in the order of the names of the
// lists.
func lists(source any) (texts []string) {
	members, _ := source.(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(members)) {
		list, _ := members[key].([]any)
		for _, one := range list {
			if text := scalars(one); text != "" {
				texts = append(texts, text)
			}
		}
	}
	return texts
}

// nonZero returns the counters that have counted something.
func nonZero(counters map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		if n := counters[name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", terminal.Text(name), n))
		}
	}
	return strings.Join(parts, " ")
}

// scalars returns the members of a JSON object, key=value, without empty strings, objects, and elements of arrays that are not
// strings.
func scalars(object any) string {
	members, ok := object.(map[string]any)
	if !ok {
		return ""
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(members)) {
		switch v := members[key].(type) {
		case string:
			if v != "" {
				parts = append(parts, terminal.Text(key)+"="+terminal.Word(v))
			}
		case json.Number, bool:
			parts = append(parts, fmt.Sprintf("%s=%v", terminal.Text(key), v))
		case []any:
			for _, element := range v {
				if text, ok := element.(string); ok {
					parts = append(parts, terminal.Text(key)+"="+terminal.Word(text))
				}
			}
		}
	}
	return strings.Join(parts, " ")
}
