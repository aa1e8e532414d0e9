package syslog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/testcert"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// transports lists every scheme with a collector in this process, and the configuration that reaches it.
func transports(tb testing.TB, each func(name string, open func(testing.TB) (*collector, *Sink))) {
	for _, t := range []struct{ name, scheme, more string }{
		{"udp", "udp", ""},
		{"unixgram", "unixgram", ""},
		{"tcp", "tcp", ""},
		{"tcp newline", "tcp", `framing = "newline"`},
		{"tls", "tls", ""},
		{"relp", "relp", ""},
		{"relp window 3", "relp", "window = 3"},
		{"relps", "relps", ""},
	} {
		each(t.name, func(tb testing.TB) (*collector, *Sink) {
			more := t.more
			var ca *testcert.Authority
			if t.scheme == "tls" || t.scheme == "relps" {
				ca = testcert.NewAuthority(tb)
				more += fmt.Sprintf("\ntls = { ca = %q }", ca.File)
				c := listen(tb, t.scheme, "", ca.Server(tb, "127.0.0.1"))
				return c, newTestSink(tb, more, c.address)
			}
			c := listen(tb, t.scheme, "", nil)
			return c, newTestSink(tb, more, c.address)
		})
	}
}

func TestConform(t *testing.T) {
	transports(t, func(name string, open func(testing.TB) (*collector, *Sink)) {
		t.Run(name, func(t *testing.T) {
			sinktest.Conform(t, func(t *testing.T) sdk.Sink {
				_, sink := open(t)
				return sink
			})
		})
	})
}

// TestFormats sends every kind of record in every format over every transport.
func TestFormats(t *testing.T) {
	records := sinktest.Records(1, 2000)
	for more, o := range map[string]format.Options{
		"": {},
		"profile = \"junos-22-24\"\nplatform = 143\nsequence = true": {Profile: format.Junos22, Platform: 143, Sequence: true},
		"sd_id = \"srx@32473\"\nstructured_filter = true":            {SDID: "srx@32473", StructuredFilter: true},
		"priority = { policy-deny = \"local4.warning\" }":            {Priorities: map[event.Kind]format.Priority{event.PolicyDeny: 164}},
		"format = \"rfc3164\"":                                       {Format: format.RFC3164},
		"format = \"json\"\nsequence = true":                         {Format: format.JSON, Envelope: true, Sequence: true},
	} {
		expect := want(t, o, 1, records...)
		for _, scheme := range []string{"udp", "tcp", "relp", "unixgram"} {
			c := listen(t, scheme, "", nil)
			if scheme == "udp" {
				drip(t, sinktest.NewStream(t), newTestSink(t, more, c.address), records, func() int { return len(c.messages()) })
			} else {
				drained(t, newTestSink(t, more, c.address), records...)
			}
			c.expect(expect)
			c.stop()
		}
	}
}

// TestGenerations pins that a record has the names of the configuration that made it.
func TestGenerations(t *testing.T) {
	c := listen(t, "tcp", "", nil)
	s := sinktest.NewStream(t)
	for g := range uint32(3) {
		names := sinktest.Names()
		names.Generation = g
		names.Policies = []string{"", fmt.Sprintf("policy-of-%d", g)}
		s.SetNames(names)
	}
	records := numbered(30)
	for i := range records {
		records[i].Generation = uint32(i / 10)
	}
	s.Append(records...)
	s.Drain()
	if err := s.Run(t.Context(), newTestSink(t, "", c.address)); err != nil {
		t.Fatal(err)
	}
	c.wait(30)
	for i, msg := range c.messages() {
		if name := fmt.Sprintf(`policy-name="policy-of-%d"`, i/10); !strings.Contains(msg, name) {
			t.Errorf("message %d lacks %s:\n%s", i, name, msg)
		}
	}
}

// TestReplay ends the collector again and again while records are sent: every record arrives, in order, and no more of them
// twice than were on their way.
func TestReplay(t *testing.T) {
	for _, window := range []int{3, 1000} {
		c := listen(t, "relp", "", nil)
		where := strings.TrimPrefix(c.address, "relp://")
		sink := newTestSink(t, fmt.Sprintf("window = %d", window), c.address)
		s := sinktest.NewStream(t)
		r := keepRunning(t, s, sink)
		const rounds, each = 10, 400
		var got []string
		records := numbered(rounds * each)
		for i := range rounds {
			s.Append(records[i*each : (i+1)*each]...)
			c.wait(each / 4)
			c.stop()
			got = append(got, c.messages()...)
			c = listen(t, "relp", where, nil)
		}
		waitAcked(t, s, rounds*each)
		r.stop()
		got = append(got, c.messages()...)
		repeated := inOrder(t, got, want(t, format.Options{}, 1, records...))
		if repeated > rounds*window {
			t.Errorf("%d messages came twice in %d rounds with a window of %d", repeated, rounds, window)
		}
		if n := sink.counts.repeated.Load(); n < uint64(repeated) {
			t.Errorf("%d messages came twice, and %d were counted", repeated, n)
		}
	}
}

// inOrder checks that got is want, but that it may go back by some messages at any place.
func inOrder(tb testing.TB, got, want []string) (repeated int) {
	tb.Helper()
	place := make(map[string]int, len(want))
	for i, m := range want {
		place[m] = i
	}
	next := 0
	for i, m := range got {
		at, ok := place[m]
		if !ok {
			tb.Fatalf("message %d was never sent: %q", i, m)
		}
		if at > next {
			tb.Fatalf("message %d is number %d, but %d is missing", i, at, next)
		}
		if at < next {
			repeated++
		}
		next = max(next, at+1)
		// After going back, the messages must follow one another again.
		if i > 0 && at != place[got[i-1]]+1 && at > place[got[i-1]] {
			tb.Fatalf("message %d is number %d behind %d", i, at, place[got[i-1]])
		}
	}
	if next != len(want) {
		tb.Fatalf("%d of %d messages", next, len(want))
	}
	return repeated
}
