package docs

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/sdk/event"
)

// shipped returns the shipped pipeline, which has run over the shipped capture as `make run` does.
func shipped(t *testing.T) *pipeline.Pipeline {
	t.Helper()
	text, err := os.ReadFile(root + "pipeline.toml")
	if err != nil {
		t.Fatal(err)
	}
	here := string(text)
	for path, replacement := range map[string]string{
		"testdata/edge.pcapng.gz": root + "testdata/edge.pcapng.gz", "bin/events.log": filepath.Join(t.TempDir(), "events.log"),
	} {
		if quoted := `= "` + path + `"`; strings.Count(here, quoted) == 1 {
			here = strings.Replace(here, quoted, `= "`+replacement+`"`, 1)
		} else {
			t.Fatalf("pipeline.toml does not name %s once", path)
		}
	}
	f, problems := config.Parse("pipeline.toml", []byte(here))
	p := plan.New(f, problems, plan.Options{Registry: builtins(t), Log: slog.New(slog.DiscardHandler)})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	pl, err := pipeline.Open(t.Context(), p, pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := pl.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return pl
}

// Every packet of the shipped capture with an IP header is counted at the zone it came from.
func TestLedgerByZone(t *testing.T) {
	p := shipped(t).Ledger().Packets
	var sum uint64
	for _, n := range p.ByZone {
		sum += n
	}
	if without := p.NotIP + p.RefusedAs["ip_version"] + p.RefusedAs["ip_short"] + p.RefusedAs["ip_header_len"]; sum > p.Received || sum+without < p.Received {
		t.Errorf("%d of %d packets in zones, at most %d have no IP header: %v", sum, p.Received, without, p.ByZone)
	}
	for _, zone := range []string{"trust", "untrust", "dmz"} {
		if p.ByZone[zone] == 0 {
			t.Errorf("no packet from %s: %v", zone, p.ByZone)
		}
	}
}

// TestLedger compares the ledger in the README, with the legend before it, and the receiver's tally there with what the shipped
// pipeline gives.
func TestLedger(t *testing.T) {
	led := shipped(t).Ledger()
	var kinds, tally []string
	var total uint64
	for _, k := range event.Kinds() {
		kinds = append(kinds, k.String())
		n := led.Sinks["events"][k.String()].Acknowledged
		tally, total = append(tally, fmt.Sprintf("%s %d", k, n)), total+n
	}
	var text bytes.Buffer
	if err := errors.Join(metrics.WriteLegend(&text), led.WriteText(&text, kinds)); err != nil {
		t.Fatal(err)
	}
	p := onePage(t, "README.md")
	if !slices.ContainsFunc(p.blocks, func(b block) bool { return b.text == text.String() }) {
		t.Errorf("no block of %s is the ledger of make run:\n%s", p.name, &text)
	}
	if want := fmt.Sprintf("\nrecords         %d: %s; printed %[1]d\n", total, strings.Join(tally, ", ")); !strings.Contains(p.text, want) {
		t.Errorf("the receiver in %s does not print%s", p.name, want)
	}
}
