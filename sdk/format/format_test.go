package format_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

func timeText(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000Z") }

// TestOptions pins what an option may be, and that the error names it, so that a sink can point at the key.
func TestOptions(t *testing.T) {
	for _, c := range []struct {
		o      format.Options
		option string // of the error, "" for none
	}{
		{format.Options{}, ""},
		{format.Options{Format: format.RFC5424, Profile: format.Junos22, Platform: 143, Hostname: "fw1.example.net"}, ""},
		{format.Options{Hostname: "-"}, ""},
		{format.Options{Hostname: strings.Repeat("h", 255)}, ""},
		{format.Options{Hostname: strings.Repeat("h", 256)}, "hostname"},
		{format.Options{Hostname: "fw 1"}, "hostname"},
		{format.Options{Hostname: "fw\n1"}, "hostname"},
		{format.Options{Hostname: "fwß"}, "hostname"},
		{format.Options{Format: format.JSON, Hostname: "fwß \"1\""}, ""},
		{format.Options{Format: format.Frames}, ""},
		{format.Options{Format: "cef"}, "format"},
		{format.Options{Profile: "junos-24"}, "profile"},
		{format.Options{Profile: format.Junos19}, ""},
		{format.Options{Format: format.RFC3164, Profile: format.Junos25}, ""},
		{format.Options{Format: format.RFC3164, Profile: format.Junos22}, ""},
		{format.Options{Format: format.RFC3164, Hostname: "fw 1"}, "hostname"},
		{format.Options{Format: format.RFC3164, Sequence: true}, "sequence"},
		{format.Options{Format: format.JSON, Sequence: true}, "sequence"},
		{format.Options{Format: format.Text, Hostname: "fwß"}, ""},
		{format.Options{Format: format.Text, Sequence: true}, "sequence"},
		{format.Options{Format: format.JSON, Sequence: true, Envelope: true}, ""},
		{format.Options{Format: format.JSON, Envelope: true, Hostname: "fw 1"}, "hostname"},
		{format.Options{Sequence: true, StructuredFilter: true, SDID: "srx@32473"}, ""},
		{format.Options{SDID: "a b"}, "sd_id"},
		{format.Options{SDID: strings.Repeat("a", 33)}, "sd_id"},
		{format.Options{SDID: "a=b"}, "sd_id"},
		{format.Options{SDID: format.SequenceID}, "sd_id"},
	} {
		e, err := format.New(c.o)
		var bad *format.OptionError
		switch {
		case c.option == "" && (err != nil || e == nil):
			t.Errorf("%+v: %v", c.o, err)
		case c.option != "" && (!errors.As(err, &bad) || bad.Option != c.option):
			t.Errorf("%+v: %v, want a mistake in %s", c.o, err, c.option)
		}
	}
	for _, name := range format.Names() {
		if _, err := format.New(format.Options{Format: name}); err != nil {
			t.Error(err)
		}
	}
	for _, name := range format.Profiles() {
		if _, err := format.New(format.Options{Profile: name}); err != nil {
			t.Error(err)
		}
	}
}

// TestFrames reads the frames back one after the other, as a reader of a file does.
func TestFrames(t *testing.T) {
	e := newEncoder(t, format.Options{Format: format.Frames})
	var file []byte
	for _, s := range samples() {
		file = append(e.Append(file, s.r, nil), e.Terminator()...)
	}
	for _, s := range samples() {
		var r event.Record
		size, err := r.Decode(file)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if !bytes.Equal(r.Frame(), s.r.Frame()) {
			t.Errorf("%s came back as another record", s.name)
		}
		file = file[size:]
	}
	if len(file) != 0 {
		t.Errorf("%d bytes are left", len(file))
	}
}

// TestNoNames encodes every sample without names and without addresses: a reader of old frames may have neither.
func TestNoNames(t *testing.T) {
	for _, f := range format.Names() {
		e := newEncoder(t, format.Options{Format: f})
		for _, s := range samples() {
			if got := e.Append(nil, s.r, nil); !bytes.Equal(got, e.Append(nil, s.r, &event.Names{})) {
				t.Errorf("%s %s: nil differs from empty names", f, s.name)
			}
			var empty event.Record
			empty.Reset(s.r.Kind())
			if line := e.Append(nil, &empty, nil); bytes.Contains(line, []byte("invalid")) {
				t.Errorf("%s: %s", f, line)
			}
		}
	}
}

// TestLongestLine pins the bound that the limit of names gives: a line fits any buffer a receiver may be expected to have.
func TestLongestLine(t *testing.T) {
	worst := strings.Repeat("\xff", 200) // three bytes for one
	for _, o := range []format.Options{
		{Profile: format.Junos25, Sequence: true, Epoch: math.MaxUint64, StructuredFilter: true},
		{Format: format.RFC3164, Profile: format.Junos25}, {Format: format.JSON, Envelope: true, Sequence: true, Epoch: math.MaxUint64},
		{Format: format.Text, Colour: true},
	} {
		e := newEncoder(t, o)
		for _, s := range samples() {
			n := names()
			for _, m := range []func(){
				func() { n.Zones[s.r.InZone()], n.Zones[s.r.OutZone()] = worst, worst },
				func() { n.Interfaces[s.r.Interface()] = worst },
				func() {
					n.Policies = []string{worst, worst, worst}
					n.Applications = []string{worst, worst, worst, worst}
				},
				func() { n.Filters[1] = event.Filter{Name: worst, Terms: []string{worst, worst}} },
			} {
				m()
			}
			if got := len(e.Append(nil, s.r, n)); got > 4096 {
				t.Errorf("%s %s: %d bytes", o.Format, s.name, got)
			}
		}
	}
}

// TestConcurrent lets the race detector see two goroutines in one encoder.
func TestConcurrent(t *testing.T) {
	for _, f := range format.Names() {
		e := newEncoder(t, format.Options{Format: f})
		n := names()
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				for _, s := range samples() {
					e.Append(nil, s.r, n)
				}
			})
		}
		both.Wait()
	}
}

func TestNoAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	n := names()
	n.Zones[2] = "un\"trust]" // the slow path too
	for _, o := range []format.Options{
		{}, {Sequence: true, StructuredFilter: true}, {Format: format.RFC3164}, {Format: format.JSON},
		{Profile: format.Junos19}, {Profile: format.Junos25, Text: true}, {Format: format.RFC3164, Profile: format.Junos25},
		{Format: format.JSON, Envelope: true}, {Format: format.Frames}, {Format: format.Text, Colour: true},
	} {
		e := newEncoder(t, o)
		buf := make([]byte, 0, 8192)
		for _, s := range samples() {
			if got := testing.AllocsPerRun(10, func() { e.Append(buf, s.r, n) }); got != 0 {
				t.Errorf("%+v %s: %v allocations", o, s.name, got)
			}
		}
	}
}

// TestNotCounted leaves out of JSON what nobody has counted: a session has a packet at least.
func TestNotCounted(t *testing.T) {
	e := newEncoder(t, format.Options{Format: "json"})
	for packets, want := range map[uint64]bool{0: false, 1: true} {
		r := flow(event.SessionClose, "23.500", 6, "10.0.1.5:40000", "192.0.2.80:443")
		r.SetClose(packets, 40*packets, 0, 0, uint32(r.Time()/1e9), event.CloseFIN)
		line := string(e.Append(nil, r, names()))
		if has := strings.Contains(line, `"bytes"`) && strings.Contains(line, `"packets"`); has != want {
			t.Errorf("%d packets: %s", packets, line)
		}
	}
}
