package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/metrics"
)

// TestReadWithoutConfig reads a capture in a folder without a configuration, and says with what. A configuration that is named must
// exist.
func TestReadWithoutConfig(t *testing.T) {
	capture, err := filepath.Abs(edge)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	out, errs, err := invoke(t, "read", capture)
	if err != nil || !strings.Contains(out, `zone-name="inside"`) || !strings.Contains(out, `zone-name="outside"`) {
		t.Fatalf("%v: %.300s\n%s", err, out, errs)
	}
	for _, want := range []string{"there is no pipeline.toml here", "-c FILE", "pipelined sample > pipeline.toml"} {
		if !strings.Contains(errs, want) {
			t.Errorf("standard error does not say %q: %s", want, errs)
		}
	}
	if _, _, err := invoke(t, "read", "--config", "pipeline.toml", capture); err == nil {
		t.Error("a configuration that is named and not there")
	}
	if err := os.WriteFile("pipeline.toml", []byte("[zones.all]\nprefixes = [\"0.0.0.0/0\", \"::/0\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, err := invoke(t, "read", capture); err != nil || errs != "" || !strings.Contains(out, `zone-name="all"`) {
		t.Errorf("with a pipeline.toml: %v: %.300s\n%s", err, out, errs)
	}
}

func TestUnused(t *testing.T) {
	for _, c := range []struct {
		packets metrics.Packets
		skipped uint64
		want    string
	}{
		{metrics.Packets{}, 0, ""},
		{metrics.Packets{Received: 10, NotIP: 5}, 0, ""},
		{metrics.Packets{Received: 10, NotIP: 6}, 0, "4 of 10 packets could be used: 6 hold no IP"},
		{
			metrics.Packets{Received: 10, NotIP: 1, Refused: 7, RefusedAs: map[string]uint64{"b": 3, "a": 4, "c": 0}}, 90,
			"2 of 100 packets could be used: 1 hold no IP, 90 have a link type that is not read, 4 are refused (a), 3 are refused (b)",
		},
	} {
		if got := unused(&c.packets, c.skipped); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestReadSaysWhatIsUnused reads a capture of nothing but ARP.
func TestReadSaysWhatIsUnused(t *testing.T) {
	out, errs, err := invoke(t, "read", writeFile(t, "arp.pcapng", string(namedInterface("lan0", 1, 9))))
	if err != nil || out != "" || !strings.Contains(errs, "0 of 1 packets could be used: 1 hold no IP") {
		t.Errorf("%v: %q %q", err, out, errs)
	}
}
