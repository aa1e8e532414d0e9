package syslog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// TestFailover loses the first address and gets it back: every record arrives at one of the two, in order.
func TestFailover(t *testing.T) {
	for _, scheme := range []string{"tcp", "relp"} {
		t.Run(scheme, func(t *testing.T) {
			where := reserve(t)
			second := listen(t, scheme, "", nil)
			sink := newTestSink(t, `return_after = "100ms"`, scheme+"://"+where, second.address)
			records := numbered(3000)
			expect := want(t, format.Options{}, 1, records...)
			s := sinktest.NewStream(t)
			s.Append(records[:1000]...)
			r := keepRunning(t, s, sink)
			waitAcked(t, s, 1000)
			second.expect(expect[:1000])
			states(t, sink, Down, Connected)

			back := listen(t, scheme, where, nil)
			await.Until(t, "the first address is in use again", func() bool { return stateOf(sink, 0) == Connected })
			s.Append(records[1000:2000]...)
			waitAcked(t, s, 2000)
			back.expect(expect[1000:2000])
			states(t, sink, Connected, Standby)
			if r.errors() != "" {
				t.Errorf("the run ended: %s", r.errors())
			}

			back.stop()
			s.Append(records[2000:]...)
			s.Drain()
			waitAcked(t, s, 3000)
			r.stop()
			second.wait(2000)
			inOrder(t, append(append(expect[:2000:2000], back.messages()[1000:]...), second.messages()[1000:]...), expect)
		})
	}
}

func stateOf(k *Sink, i int) State { return k.Status().(Status).Addresses[i].State }

// states waits until the addresses are in those states: goroutines that dial go on changing them, so that an address that is
// down is connecting now and then.
func states(tb testing.TB, k *Sink, want ...State) {
	tb.Helper()
	await.Until(tb, fmt.Sprintf("states %v", want), func() bool {
		var got []State
		for i := range k.links {
			got = append(got, stateOf(k, i))
		}
		return slices.Equal(got, want)
	})
}

// TestFailoverNone pins the error when no address works.
func TestFailoverNone(t *testing.T) {
	a := "tcp://" + reserve(t)
	b := "relp://" + reserve(t)
	sink := newTestSink(t, "", a, b)
	s := sinktest.NewStream(t)
	s.Append(numbered(1)...)
	err := s.Run(t.Context(), sink)
	if err == nil || !strings.Contains(err.Error(), a) || !strings.Contains(err.Error(), b) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v does not tell both", err)
	}
	states(t, sink, Down, Down)
	if n := sink.counts.connectErrors.Load(); n != 2 {
		t.Errorf("%d connect errors", n)
	}
}

// TestAll has three addresses of which one is down and another goes down: those that are up receive at once, everybody
// receives everything once, and nothing is acknowledged that one of them lacks.
func TestAll(t *testing.T) {
	for _, scheme := range []string{"tcp", "relp"} {
		t.Run(scheme, func(t *testing.T) {
			a := listen(t, scheme, "", nil)
			b := listen(t, scheme, "", nil)
			where := reserve(t)
			whereB := strings.TrimPrefix(b.address, scheme+"://")
			sink := newTestSink(t, `strategy = "all"`, a.address, b.address, scheme+"://"+where)
			records := numbered(4000)
			expect := want(t, format.Options{}, 1, records...)
			s := sinktest.NewStream(t)
			s.Append(records[:2000]...)
			r := keepRunning(t, s, sink)
			a.wait(2000)
			b.wait(2000)
			if got := s.Acked(); got != 0 {
				t.Fatalf("acknowledged up to %d, and an address has nothing", got)
			}
			states(t, sink, Connected, Connected, Down)

			c := listen(t, scheme, where, nil)
			waitAcked(t, s, 2000)
			c.expect(expect[:2000])

			await.Until(t, "all are connected", func() bool { return stateOf(sink, 1) == Connected && sink.links[1].unacked.Load() == 0 })
			gotB := b.messages()
			b.stop()
			s.Append(records[2000:3000]...)
			c.wait(3000)
			a.wait(3000)
			b = listen(t, scheme, whereB, nil)
			waitAcked(t, s, 3000)
			s.Append(records[3000:]...)
			s.Drain()
			waitAcked(t, s, 4000)
			r.stop()
			a.expect(expect)
			c.expect(expect)
			b.expect(expect[len(gotB):])
		})
	}
}

// TestAllEvicted evicts, between two runs, what an address that is down lacks: it gets what is left when it is back. The
// loss record, at the end, goes to all.
func TestAllEvicted(t *testing.T) {
	a := listen(t, "tcp", "", nil)
	where := reserve(t)
	sink := newTestSink(t, `strategy = "all"`, a.address, "tcp://"+where)
	records := numbered(1000)
	s := sinktest.NewStream(t)
	s.Append(records...)
	r := keepRunning(t, s, sink)
	a.wait(1000)
	r.stop()
	s.Evict(600)
	r = keepRunning(t, s, sink)
	c := listen(t, "tcp", where, nil)
	waitAcked(t, s, 1001)
	r.stop()
	var lost event.Record
	lost.Reset(event.Loss)
	lost.Generation = records[0].Generation
	since, until := records[0].Time(), records[0].Time()
	for i := range records[:600] {
		since, until = min(since, records[i].Time()), max(until, records[i].Time())
	}
	lost.SetLoss(event.LossEvicted, 0, &event.LossCounts{event.SessionOpen: 600}, since, until)
	expect := want(t, format.Options{}, 1, append(records, lost)...)
	a.expect(expect)
	c.expect(expect[600:])
}

// TestAllDrain pins that a drain ends with an error while an address lacks records, and that others have everything.
func TestAllDrain(t *testing.T) {
	a := listen(t, "relp", "", nil)
	where := reserve(t)
	sink := newTestSink(t, `strategy = "all"`, a.address, "relp://"+where)
	s := sinktest.NewStream(t)
	s.Append(numbered(100)...)
	s.Drain()
	err := s.Run(t.Context(), sink)
	if err == nil || !strings.Contains(err.Error(), "lacks records and is down") || s.Acked() != 0 {
		t.Errorf("%v, acknowledged up to %d", err, s.Acked())
	}
	c := listen(t, "relp", where, nil)
	if err := s.Run(t.Context(), sink); err != nil || s.Acked() != 100 {
		t.Errorf("%v, acknowledged up to %d", err, s.Acked())
	}
	for _, k := range []*collector{a, c} {
		k.expect(want(t, format.Options{}, 1, numbered(100)...))
	}
}

// TestAllMixed sends to an address of every kind at once.
func TestAllMixed(t *testing.T) {
	var addresses []string
	var peers []*collector
	for _, scheme := range []string{"tcp", "relp", "udp", "unixgram"} {
		c := listen(t, scheme, "", nil)
		peers = append(peers, c)
		addresses = append(addresses, c.address)
	}
	records := sinktest.Records(3, 1000)
	drip(t, sinktest.NewStream(t), newTestSink(t, "strategy = \"all\"\nwindow = 7", addresses...), records, func() int {
		return len(peers[2].messages()) // of UDP
	})
	for _, c := range peers {
		c.expect(want(t, format.Options{}, 1, records...))
	}
}

// TestEpoch pins that positions of an earlier run of the daemon do not count.
func TestEpoch(t *testing.T) {
	c := listen(t, "tcp", "", nil)
	sink := newTestSink(t, `strategy = "all"`, c.address)
	drained(t, sink, numbered(10)...)
	sink.epoch = 0 // as if that had been another
	drained(t, sink, numbered(10)...)
	c.wait(20)
}

// TestCounters pins that the names of counters do not change and that messages and bytes are those that were sent.
func TestCounters(t *testing.T) {
	c := listen(t, "tcp", "", nil)
	sink := newTestSink(t, "", c.address)
	drained(t, sink, numbered(100)...)
	bytes := 0
	for _, m := range want(t, format.Options{}, 1, numbered(100)...) {
		bytes += len(fmt.Sprint(len(m))) + 1 + len(m)
	}
	got := map[string]uint64{}
	for _, k := range sink.Counters() {
		got[k.Name] = k.Value
	}
	for name, want := range map[string]uint64{
		"connections": 1, "connect_errors": 0, "disconnects": 0, "messages": 100, "bytes": uint64(bytes), "repeated": 0, "send_errors": 0,
		"fragmented": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %d, want %d", name, v, want)
		}
	}
	if len(got) != 8 {
		t.Errorf("counters %v", got)
	}
}

// TestCountersInterleaved counts messages where answers come in while others are framed.
func TestCountersInterleaved(t *testing.T) {
	for _, scheme := range []string{"tcp", "relp"} {
		c := listen(t, scheme, "", nil)
		sink := newTestSink(t, "", c.address)
		s := sinktest.NewStream(t)
		s.SetBatch(64)
		const n = 20_000
		s.Append(numbered(n)...)
		s.Drain()
		if err := s.Run(t.Context(), sink); err != nil {
			t.Fatal(err)
		}
		if got := sink.counts.messages.Load(); got != n {
			t.Errorf("%s: %d messages counted, %d sent", scheme, got, n)
		}
	}
}

// TestChangesUnderLoad lets an address come and go while the window is full nearly all the time: changes happen in the
// middle of everything, and no record may fall between two addresses.
func TestChangesUnderLoad(t *testing.T) {
	for _, c := range []struct {
		strategy    string
		changesLast bool // the address that comes and goes is the second in the list
	}{{"failover", false}, {"all", false}, {"all", true}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			where := reserve(t)
			steady := listen(t, "relp", "", nil)
			addresses := []string{"relp://" + where, steady.address}
			if c.changesLast {
				slices.Reverse(addresses)
			}
			sink := newTestSink(t, fmt.Sprintf("window = 2\nsequence = true\nreturn_after = \"100ms\"\nstrategy = %q", c.strategy), addresses...)
			s := sinktest.NewStream(t)
			s.Append(numbered(1000)...)
			s.Repeat(1 << 40)
			r := keepRunning(t, s, sink)
			has := make(map[event.Seq]bool)
			for round := range 6 {
				steady.wait(200 * (round + 1))
				k := listen(t, "relp", where, nil)
				k.wait(100)
				k.stop()
				for _, m := range k.messages() {
					has[sequenceOf(t, m)] = true
				}
			}
			r.stop()
			other := make(map[event.Seq]bool)
			for _, m := range steady.messages() {
				other[sequenceOf(t, m)] = true
			}
			acked := s.Acked()
			if acked < 1000 && c.strategy == "failover" || acked == 0 {
				t.Fatalf("acknowledged up to %d", acked)
			}
			for seq := event.Seq(1); seq <= acked; seq++ {
				if !has[seq] && !other[seq] || c.strategy == "all" && !(has[seq] && other[seq]) {
					t.Fatalf("record %d of %d that are acknowledged: %v, %v", seq, acked, has[seq], other[seq])
				}
			}
		})
	}
}

// sequenceOf returns the number of a message.
func sequenceOf(tb testing.TB, msg string) event.Seq {
	tb.Helper()
	_, rest, _ := strings.Cut(msg, `sequence="`)
	digits, _, _ := strings.Cut(rest, `"`)
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		tb.Fatalf("%v in %s", err, msg)
	}
	return event.Seq(n)
}
