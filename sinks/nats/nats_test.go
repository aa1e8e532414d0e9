package nats_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rtflow/pipelined/internal/inflight"
	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/nats"
)

func TestConform(t *testing.T) {
	s := startServer(t, nil)
	var streams atomic.Int32
	for _, c := range []struct{ name, options string }{
		{"events", ""},
		{"one message on its way", "max_in_flight = 1"},
		{"batches", "batch = 64\nformat = \"frames\""},
		{"one batch on its way", "batch = 64\nmax_in_flight = 1"},
		{"lines", "batch = 1000\nformat = \"rfc5424\"\nsubject = \"{sink}.log\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			sinktest.Conform(t, func(t *testing.T) sdk.Sink {
				n := streams.Add(1)
				options := c.options
				if !strings.Contains(options, "subject") {
					options += fmt.Sprintf("\nsubject = \"s%d.{kind}.{zone}\"", n)
				} else {
					options = strings.ReplaceAll(options, "{sink}", fmt.Sprintf("s%d", n))
				}
				return newSink(t, "servers = [%q]\nstream = { name = \"S%d\", create = true }\n%s", s.ClientURL(), n, options)
			})
		})
	}
}

// TestMessages looks at what is in the stream: subject, headers and data of each event.
func TestMessages(t *testing.T) {
	s := startServer(t, nil)
	js := dial(t, s.ClientURL())
	for i, name := range format.Names() {
		stream := "M" + strconv.Itoa(i)
		sink := newSink(t, "servers = [%q]\nformat = %q\nsubject = \"%s.{host}.{kind}.{zone}.{egress-zone}\"\n"+
			"stream = { name = %[3]q, create = true, replicas = 1, max_age = \"1h\", max_bytes = \"1GiB\", duplicates = \"1m\" }",
			s.ClientURL(), name, stream)
		records := append(sinktest.Records(7, 200), sinktest.Record(event.Loss, 1))
		run := sinktest.NewStream(t)
		names := sinktest.Names()
		names.Zones[2] = "un.trusted zone"
		names.Generation = 0
		run.SetNames(names)
		run.Append(records...)
		run.Drain()
		if err := run.Run(t.Context(), sink); err != nil {
			t.Fatal(err)
		}
		zones := map[uint16]string{0: "unknown", 1: "trust", 2: "un%2Etrusted%20zone"}
		got := contents(t, js, stream)
		if len(got) != len(records) {
			t.Fatalf("%s: %d messages of %d events", name, len(got), len(records))
		}
		for j, m := range got {
			r := &records[j]
			r.SetSeq(event.Seq(j + 1))
			egress := r.OutZone()
			if r.Kind() == event.Loss {
				egress = 0
			}
			subject := fmt.Sprintf("%s.fw1.%s.%s.%s", stream, r.Kind(), zones[r.InZone()], zones[egress])
			if m.subject != subject {
				t.Errorf("subject %q, want %q", m.subject, subject)
			}
			if want := encoder(t, name).Append(nil, r, names); !bytes.Equal(m.data, want) {
				t.Errorf("%s:\n%q, want\n%q", name, m.data, want)
			}
			for key, want := range map[string]string{
				"Nats-Msg-Id": fmt.Sprintf("fw1/1/broker/%d", j+1), "Pipelined-Host": "fw1", "Pipelined-Sink": "broker",
				"Pipelined-Epoch": "1", "Pipelined-Sequence": strconv.Itoa(j + 1),
			} {
				if got := m.header.Get(key); got != want {
					t.Errorf("%s is %q, want %q", key, got, want)
				}
			}
		}
	}
	info, err := js.Stream(t.Context(), "M0")
	if err != nil {
		t.Fatal(err)
	}
	c := info.CachedInfo().Config
	if c.MaxAge != time.Hour || c.MaxBytes != 1<<30 || c.Duplicates != time.Minute || c.Storage != jetstream.FileStorage ||
		!slices.Equal(c.Subjects, []string{"M0.fw1.*.*.*"}) {
		t.Errorf("the stream was created as %+v", c)
	}
}

// TestServersSubjects has zones that are called like the subjects of the servers themselves, at the beginning of the subject.
func TestServersSubjects(t *testing.T) {
	s := startServer(t, nil)
	js := dial(t, s.ClientURL())
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "Z", Subjects: []string{"%24JS.x", "%24SYS.x"}}); err != nil {
		t.Fatal(err)
	}
	sink := newSink(t, "servers = [%q]\nsubject = \"{zone}.x\"\nstream = { name = \"Z\" }", s.ClientURL())
	names := sinktest.Names()
	names.Zones[1], names.Zones[2] = "$JS", "$SYS"
	names.Generation = 0
	run := sinktest.NewStream(t)
	run.SetNames(names)
	in, out := sinktest.Record(event.SessionOpen, 1), sinktest.Record(event.SessionOpen, 2)
	in.SetZones(1, 2)
	out.SetZones(2, 1)
	run.Append(in, out)
	run.Drain()
	if err := run.Run(t.Context(), sink); err != nil {
		t.Fatal(err)
	}
	got := contents(t, js, "Z")
	if len(got) != 2 || got[0].subject != "%24JS.x" || got[1].subject != "%24SYS.x" {
		t.Errorf("%v", got)
	}
}

// TestBatches looks at batches: one subject each, in order, at most as long as allowed, and headers that say what is in them.
func TestBatches(t *testing.T) {
	s := startServer(t, nil)
	sink := newSink(t, "servers = [%q]\nformat = \"frames\"\nbatch = 50\nlinger = \"1s\"\nstream = { name = \"B\", create = true }", s.ClientURL())
	run := sinktest.NewStream(t)
	run.SetBatch(3000) // all at once: between two portions a batch may become older than linger
	run.Append(numbered(3000)...)
	run.Drain()
	if err := run.Run(t.Context(), sink); err != nil {
		t.Fatal(err)
	}
	messages := contents(t, dial(t, s.ClientURL()), "B")
	wantAll(t, messages, 3000)
	if len(messages) != 60 {
		t.Errorf("%d messages, want 60 full ones", len(messages))
	}
	last := map[string]event.Seq{}
	for _, m := range messages {
		seqs := sequences(t, m)
		first, end := seqs[0], seqs[len(seqs)-1]
		if !slices.IsSorted(seqs) || first <= last[m.subject] {
			t.Errorf("%s: out of order", m.subject)
		}
		last[m.subject] = end
		for key, want := range map[string]string{
			"Nats-Msg-Id":        fmt.Sprintf("fw1/1/broker/%d-%d/%d", first, end, len(seqs)),
			"Pipelined-Sequence": fmt.Sprint(first), "Pipelined-Last": fmt.Sprint(end), "Pipelined-Count": fmt.Sprint(len(seqs)),
		} {
			if got := m.header.Get(key); got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
	}
}

// TestLostAcks swallows the stream's acknowledgements: the sink gives up, sends everything again, and the stream drops it.
// Batches are cut the same way although the records come in other portions.
func TestLostAcks(t *testing.T) {
	for _, c := range []struct{ name, options string }{
		{"events", "max_in_flight = 500"},
		{"batches", "max_in_flight = 40\nbatch = 50\nlinger = \"0s\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t, nil)
			p := startProxy(t, s)
			js := dial(t, s.ClientURL())
			sink := newSink(t, "servers = [%q]\nformat = \"frames\"\nack_timeout = \"3s\"\n%s\nstream = { name = \"L\", create = true }",
				p.url, c.options)
			const n = 5000
			run := sinktest.NewStream(t)
			run.SetBatch(17)
			run.Append(numbered(n / 2)...)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			done := sinkcheck.Start(ctx, t, run, sink, 1000)
			p.set(deaf)
			run.Append(numbered(n)[n/2:]...)
			var stall *inflight.StallError
			if err := <-done; !errors.As(err, &stall) {
				t.Fatalf("Run = %v, want a StallError", err)
			}
			p.set(pass)
			run.SetBatch(256)
			run.Drain()
			sinkcheck.KeepRunning(ctx, t, run, sink)
			if run.Acked() != n {
				t.Errorf("acknowledged up to %d", run.Acked())
			}
			wantAll(t, contents(t, js, "L"), n)
			if sinkcheck.Counter(t, sink, "duplicates") == 0 {
				t.Error("the stream has dropped no duplicate: nothing was sent twice, and this test shows nothing")
			}
		})
	}
}

// TestHosts has two hosts publish the same numbers of the same epoch to one stream: it keeps the events of both, and drops
// what either sends again.
func TestHosts(t *testing.T) {
	s := startServer(t, nil)
	js := dial(t, s.ClientURL())
	for i, options := range []string{"batch = 1", "batch = 10\nlinger = \"1s\""} {
		stream := fmt.Sprintf("H%d", i)
		for _, host := range []string{"fw1", "fw2", "fw1/1", "fw1"} { // the last is the first, after a new start of its process
			sink, problems := sinkcheck.Load(nats.Plugin(), fmt.Sprintf("servers = [%q]\nsubject = \"%s.{kind}\"\nformat = \"frames\"\n%s\n"+
				"stream = { name = %[2]q, create = true }", s.ClientURL(), stream, options), sdk.Env{Hostname: host})
			if problems != "" {
				t.Fatal(problems)
			}
			if err := sinkcheck.Deliver(t, sink, numbered(60)...); err != nil {
				t.Fatal(err)
			}
		}
		from := map[string][]stored{}
		for _, m := range contents(t, js, stream) {
			host := m.header.Get("Pipelined-Host")
			from[host] = append(from[host], m)
		}
		for _, host := range []string{"fw1", "fw2", "fw1/1"} {
			wantAll(t, from[host], 60)
		}
	}
}

// TestManyInFlight has as many messages on their way as max_in_flight allows at most.
func TestManyInFlight(t *testing.T) {
	s := startServer(t, nil)
	p := startProxy(t, s)
	const n = 65536
	sink := newSink(t, "servers = [%q]\nformat = \"frames\"\nmax_in_flight = %d\nack_timeout = \"10m\"\nstream = { name = \"M\", create = true }",
		p.url, n)
	run := sinktest.NewStream(t)
	run.Append(numbered(1)...)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done := sinkcheck.Start(ctx, t, run, sink, 1)
	p.set(deaf)
	run.Append(numbered(n + 1)...)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for sink.(sdk.Reporter).Status().(nats.Status).InFlight < n {
		select {
		case <-tick.C:
		case err := <-done:
			t.Fatalf("Run = %v", err)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want the end of its context", err)
	}
}

// pausing is a sink to whose runs records come with pauses that are as long as it is ready to wait, as over the border of a
// process.
type pausing struct{ sdk.Sink }

func (p pausing) Run(ctx context.Context, s sdk.Stream) error {
	return p.Sink.Run(ctx, &pausingStream{Stream: s})
}

type pausingStream struct {
	sdk.Stream
	calls int
}

func (s *pausingStream) Next(ctx context.Context, wait time.Duration) (sdk.Batch, error) {
	if s.calls++; wait < 0 || s.calls%2 != 0 {
		return s.Stream.Next(ctx, wait)
	}
	pause := time.NewTimer(wait)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
	return sdk.Batch{}, ctx.Err()
}

// TestPausesInReplay: batches whose acknowledgements were lost are cut the same way although their records come with pauses.
func TestPausesInReplay(t *testing.T) {
	s := startServer(t, nil)
	p := startProxy(t, s)
	sink := newSink(t, "servers = [%q]\nformat = \"frames\"\nack_timeout = \"3s\"\nbatch = 25\nstream = { name = \"P\", create = true }", p.url)
	run := sinktest.NewStream(t)
	run.SetBatch(10)
	run.Append(numbered(100)...)
	done := sinkcheck.Start(t.Context(), t, run, sink, 100)
	p.set(deaf)
	run.Append(numbered(200)...)
	var stall *inflight.StallError
	if err := <-done; !errors.As(err, &stall) {
		t.Fatalf("Run = %v, want a StallError", err)
	}
	p.set(pass)
	run.Drain()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sinkcheck.KeepRunning(ctx, t, run, pausing{sink})
	wantAll(t, contents(t, dial(t, s.ClientURL()), "P"), 300)
	if sinkcheck.Counter(t, sink, "duplicates") == 0 {
		t.Error("the stream has dropped no duplicate: nothing was sent twice, and this test shows nothing")
	}
}

// TestCuts cuts the connection again and again under load.
func TestCuts(t *testing.T) {
	for _, c := range []struct{ name, options string }{
		{"events", "max_in_flight = 200"},
		{"batches", "max_in_flight = 8\nbatch = 25"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t, nil)
			p := startProxy(t, s)
			sink := newSink(t, "servers = [%q]\nformat = \"frames\"\n%s\nstream = { name = \"C\", create = true }", p.url, c.options)
			const n = 12000
			run := sinktest.NewStream(t)
			run.Append(numbered(n)...)
			run.Drain()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			go func() {
				for at := event.Seq(2000); at < n; at += 2000 {
					if run.WaitAcked(ctx, at) != nil {
						return
					}
					p.cut()
				}
			}()
			if sinkcheck.KeepRunning(ctx, t, run, sink) == 0 {
				t.Error("no run has failed")
			}
			wantAll(t, contents(t, dial(t, s.ClientURL()), "C"), n)
			if got := sinkcheck.Counter(t, sink, "connects"); got < 2 {
				t.Errorf("connected %d times", got)
			}
		})
	}
}

// TestHangs ends a run whose server is there and says nothing any more, in whatever the sink is doing.
func TestHangs(t *testing.T) {
	s := startServer(t, nil)
	p := startProxy(t, s)
	sink := newSink(t, "servers = [%q]\nformat = \"frames\"\nack_timeout = \"3s\"\nstream = { name = \"H\", create = true }", p.url)
	run := sinktest.NewStream(t)
	run.Append(numbered(100)...)
	done := sinkcheck.Start(t.Context(), t, run, sink, 100)
	p.set(mute)
	run.Append(numbered(5000)...)
	var stall *inflight.StallError
	if err := <-done; !errors.As(err, &stall) || stall.First != 101 {
		t.Errorf("Run = %v, want a StallError at 101", err)
	}
	// Only this one is impatient: the others have to connect, on a busy machine as well.
	impatient := newSink(t, "servers = [%q]\nconnect_timeout = \"1s\"\nstream = { name = \"H\" }", p.url)
	if err := run.Run(t.Context(), impatient); err == nil {
		t.Error("connected to a server that says nothing")
	}
	// Its context ends a run that is connecting.
	slow := newSink(t, "servers = [%q]\nconnect_timeout = \"10m\"\nstream = { name = \"H\" }", p.url)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run.Run(ctx, slow) }()
	stop()
	if err := <-ended; err == nil {
		t.Error("connected to a server that says nothing")
	}
	p.set(pass)
	run.Drain()
	within, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sinkcheck.KeepRunning(within, t, run, sink)
	wantAll(t, contents(t, dial(t, s.ClientURL()), "H"), 5100)
}

// TestStuck has a server that reads no more, so that the sink is stuck in a write: its deadline ends the run, and so does its
// context.
func TestStuck(t *testing.T) {
	s := startServer(t, nil)
	p := startProxy(t, s)
	const options = "servers = [%q]\nformat = \"frames\"\nbatch = 1000\nack_timeout = %q\nstream = { name = \"STUCK\", create = true }"
	for _, c := range []struct {
		name, timeout string
	}{{"deadline", "3s"}, {"context", "10m"}} {
		t.Run(c.name, func(t *testing.T) {
			p.set(pass)
			sink := newSink(t, options, p.url, c.timeout)
			run := sinktest.NewStream(t)
			run.Append(numbered(1000)...)
			run.SetBatch(1000)
			run.Repeat(1 << 30)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := sinkcheck.Start(ctx, t, run, sink, 1000)
			p.set(stuck)
			// What is on its way is more than the buffers between the two take.
			waitFull(t, sink)
			if c.name == "context" {
				cancel()
			}
			if err := <-done; err == nil {
				t.Error("Run = nil")
			}
			p.set(pass)
		})
	}
}

// waitFull waits until the sink takes no more records, or is over.
func waitFull(t *testing.T, sink sdk.Sink) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for before := -1; ; {
		now := sink.(sdk.Reporter).Status().(nats.Status).InFlight
		if now == before {
			return
		}
		before = now
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the sink is never full")
		}
	}
}

// TestRejects has records that the stream never takes: they are rejected, with a reason, and hold nothing up.
func TestRejects(t *testing.T) {
	s := startServer(t, nil)
	js := dial(t, s.ClientURL())
	for i, batch := range []int{1, 10} {
		t.Run(fmt.Sprintf("batch %d", batch), func(t *testing.T) {
			name := "R" + strconv.Itoa(i)
			limits := jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, MaxMsgSize: 900}
			if _, err := js.CreateStream(t.Context(), limits); err != nil {
				t.Fatal(err)
			}
			sink := newSink(t, "servers = [%q]\nsubject = \"%s.{kind}\"\nformat = \"rfc5424\"\nbatch = %d\nstream = { name = %[2]q }",
				s.ClientURL(), name, batch)
			run := sinktest.NewStream(t)
			// A close is longer than 900 bytes with its headers, an open is not.
			for i := range uint64(30) {
				run.Append(sinktest.Record(event.FilterLog, i), sinktest.Record(event.SessionClose, i))
			}
			done := sinkcheck.Start(t.Context(), t, run, sink, 60)
			rejected := run.Rejected()
			if len(rejected) != 30 || !strings.Contains(rejected[2], "the stream takes 900") {
				t.Errorf("%d rejected: %v", len(rejected), rejected)
			}
			// The limit changes under the sink: the server refuses what the sink believes to fit.
			limits.MaxMsgSize = 100
			if _, err := js.UpdateStream(t.Context(), limits); err != nil {
				t.Fatal(err)
			}
			run.Append(sinktest.Record(event.FilterLog, 99))
			if err := run.WaitAcked(t.Context(), 61); err != nil {
				t.Fatal(err)
			}
			run.Drain()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if why := run.Rejected()[61]; !strings.Contains(why, "maximum") {
				t.Errorf("rejected as %q", why)
			}
		})
	}
}

// TestStreams has streams that cannot do: Run says what is wrong, and rejects nothing.
func TestStreams(t *testing.T) {
	s := startServer(t, nil)
	js := dial(t, s.ClientURL())
	for _, c := range []jetstream.StreamConfig{
		{Name: "NOACK", Subjects: []string{"noack.>"}, NoAck: true},
		{Name: "OTHER", Subjects: []string{"other.>"}},
		{Name: "SMALL", Subjects: []string{"small.>"}, MaxMsgs: 1, Discard: jetstream.DiscardNew},
		{Name: "MIRROR", Mirror: &jetstream.StreamSource{Name: "OTHER"}},
	} {
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ stream, subject, want string }{
		{"MISSING", "x.{kind}", "stream.create = true"},
		{"NOACK", "noack.{kind}", "no_ack"},
		{"MIRROR", "other.{kind}", "mirror"},
		{"SMALL", "other.{kind}", "stream OTHER takes the subject other.session-open, not SMALL"},
		{"OTHER", "nobody.{kind}", "no stream takes the subject nobody.session-open"},
		{"SMALL", "small.{kind}", "maximum messages exceeded"},
	} {
		run := sinktest.NewStream(t)
		run.Append(sinktest.Record(event.SessionOpen, 1), sinktest.Record(event.SessionOpen, 2))
		run.Drain()
		err := run.Run(t.Context(), newSink(t, "servers = [%q]\nsubject = %q\nstream = { name = %q }", s.ClientURL(), c.subject, c.stream))
		if err == nil || !strings.Contains(err.Error(), c.want) || len(run.Rejected()) > 0 {
			t.Errorf("%s into %s: %v, rejected %v, want %q", c.subject, c.stream, err, run.Rejected(), c.want)
		}
	}
}

// TestStatus shows where the sink is, and that it warns of a stream that forgets too soon.
func TestStatus(t *testing.T) {
	s := startServer(t, nil)
	js := dial(t, s.ClientURL())
	short := jetstream.StreamConfig{Name: "SHORT", Subjects: []string{"short.>"}, Duplicates: time.Second}
	if _, err := js.CreateStream(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	var warnings []string
	sink, problems := sinkcheck.Load(nats.Plugin(), fmt.Sprintf("servers = [%q]\nsubject = \"short.{kind}\"\nstream = { name = \"SHORT\" }", s.ClientURL()),
		sdk.Env{Warn: func(msg string, args ...any) { warnings = append(warnings, fmt.Sprint(msg, args)) }})
	if problems != "" {
		t.Fatal(problems)
	}
	for range 2 {
		run := sinktest.NewStream(t)
		run.Append(numbered(10)...)
		run.Drain()
		if err := run.Run(t.Context(), sink); err != nil {
			t.Fatal(err)
		}
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "duplicate_window 1s") {
		t.Errorf("warnings: %q", warnings)
	}
	want := nats.Status{Server: s.ClientURL(), Stream: "SHORT", Duplicates: "1s"}
	if got := sink.(sdk.Reporter).Status(); got != want {
		t.Errorf("status %+v, want %+v", got, want)
	}
	// The second stream has the same epoch: the sink knows that its records are delivered.
	if connects, messages := sinkcheck.Counter(t, sink, "connects"), sinkcheck.Counter(t, sink, "messages"); connects != 2 || messages != 10 {
		t.Errorf("%d connects, %d messages", connects, messages)
	}
}
