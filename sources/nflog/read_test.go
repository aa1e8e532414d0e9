package nflog

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/nfnetlink"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
)

// script is a socket that hands over what a test has written down.
type script struct {
	receives []received // one for each Receive; after them nothing
	now      [][]byte
	drops    uint32
	calls    int
}

type received struct {
	datagrams [][]byte
	err       error
}

func (s *script) Receive() (int, error) {
	s.calls++
	if len(s.receives) == 0 {
		return 0, nil
	}
	r := s.receives[0]
	s.receives = s.receives[1:]
	s.now = r.datagrams
	return len(r.datagrams), r.err
}

func (s *script) Datagram(i int) []byte { return s.now[i] }

func (s *script) Drops() (uint32, error) { return s.drops, nil }

// add makes the socket hand over datagrams with the next Receive.
func (s *script) add(datagrams ...[]byte) {
	s.receives = append(s.receives, received{datagrams: datagrams})
}

// reads returns a reader of a scripted socket, as a table says, that was opened at the time 100.
func reads(t testing.TB, text string) (*reader, *script) {
	t.Helper()
	c, s, r := config(t, text), new(script), new(reader)
	r.init(s, &c, 100)
	return r, s
}

// all reads until there is nothing more, at one time, and returns a line for each event.
func all(t testing.TB, r *reader, wall int64) (lines []string) {
	t.Helper()
	var b source.EventBatch
	for {
		again, err := r.Read(&b, 0, wall)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.N {
			e := &b.Events[i]
			if e.What == source.Lost {
				lines = append(lines, fmt.Sprintf("lost %d, %d to %d", e.Lost[event.PolicyDeny], e.Created, e.Time))
			} else {
				lines = append(lines, fmt.Sprintf("%d %s at %d", e.What, e.Rule.Name, e.Time))
			}
		}
		if again < 0 {
			return lines
		}
	}
}

// logs is the message of a packet of group 5.
func logs(sequence uint32, text string) []byte { return logsIn(5, sequence, text) }

func logsIn(group uint16, sequence uint32, text string) []byte {
	return build(nil, unix.AF_INET, group, header(etherIPv4, 2), prefix(text), number(attrSequence, sequence), payload(udp()))
}

func compare(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// TestEvents follows one packet of each kind to its event.
func TestEvents(t *testing.T) {
	r, s := reads(t, `{"groups": [5, 6]}`)
	icmp := append(udp()[:20:20], 3, 1, 0, 0, 0, 0, 0, 0)
	icmp[9], icmp[3] = packet.ProtoICMP, 28
	s.add(build(nil, unix.AF_INET, 5, header(etherIPv4, 2), stamp(7, 1), number(attrIn, 3), number(attrOut, 4), prefix("REJECT:x "),
		number(attrSequence, 0), payload(icmp)))
	var b source.EventBatch
	if again, err := r.Read(&b, 0, 1000); again != -1 || err != nil || b.N != 1 {
		t.Fatalf("again %d, %v, %d events", again, err, b.N)
	}
	got := b.Events[0]
	rule := got.Rule
	got.Rule = nil
	want := source.Event{
		What: source.Denied, Action: event.ActionReject, ICMPType: 3, ICMPCode: 1, In: 3, Out: 4, Time: 7_000001000,
		Flow: packet.Tuple{Src: packet.Addr{192, 0, 2, 1}, Dst: packet.Addr{192, 0, 2, 2}, Proto: packet.ProtoICMP, Family: packet.IPv4},
	}
	if got != want || rule.Name != "x" {
		t.Errorf("%+v of %q, want %+v", got, rule.Name, want)
	}
	s.add(logs(1, "DROP:x"), logs(2, "ACCEPT:y "), logs(3, "guests"), logs(4, ""), logs(5, " "), logsIn(6, 0, ""))
	compare(t, "events", all(t, r, 1000), "3 x at 1000", "5 y at 1000", "4 guests at 1000", "4 group-5 at 1000", "4 group-5 at 1000", "4 group-6 at 1000")
	if r.prefixes.find([]byte("DROP:x")).rule != rule {
		t.Error("a rule of one name is two")
	}
}

// TestDatagrams reads datagrams of several packets, and more packets than a batch holds.
func TestDatagrams(t *testing.T) {
	r, s := reads(t, `{"groups": [5], "queue_threshold": 100}`)
	var several []byte
	sequence := uint32(0)
	for range 60 {
		several = append(several, logs(sequence, "DROP:x")...)
		sequence++
	}
	done, start := nfnetlink.AppendMessage(nil, nfnetlink.Message{Type: unix.NLMSG_DONE})
	several = append(several, nfnetlink.EndMessage(done, start)...)
	var full [][]byte
	for range nfnetlink.Datagrams {
		full = append(full, logs(sequence, "DROP:x"))
		sequence++
	}
	s.receives = []received{{datagrams: full[:0]}}
	if got := all(t, r, 1); len(got) != 0 || s.calls != 1 {
		t.Errorf("nothing was there: %q, %d calls", got, s.calls)
	}
	s.receives = []received{{datagrams: [][]byte{several}}, {datagrams: full}, {datagrams: full}, {datagrams: full}, {datagrams: full}}
	s.calls = 0
	var b source.EventBatch
	if again, err := r.Read(&b, 0, 1); again != -1 || err != nil || b.N != 60 || s.calls != 1 {
		t.Errorf("one datagram: again %d, %v, %d events, %d calls", again, err, b.N, s.calls)
	}
	// Four full ones are 256 packets: two batches, and one more look.
	for _, want := range []struct {
		n     int
		again time.Duration
	}{{source.EventBatchSize - 1, 0}, {1, -1}} {
		if again, err := r.Read(&b, 0, 1); again != want.again || err != nil || b.N != want.n {
			t.Errorf("again %d, %v, %d events, want %d, %d", again, err, b.N, want.again, want.n)
		}
	}
	if s.calls != 6 || r.messages.Load() != 60+4*nfnetlink.Datagrams || r.malformed.Load() != 0 {
		t.Errorf("%d calls, %d messages, %d malformed", s.calls, r.messages.Load(), r.malformed.Load())
	}
}

// TestLost tells of each packet once, whichever tells of it first: a gap in a group, or the count of drops.
func TestLost(t *testing.T) {
	r, s := reads(t, `{"groups": [5, 6]}`)
	s.add(logs(2, "DROP:a"), logs(3, "DROP:b"))
	compare(t, "the first are missing", all(t, r, 200), "lost 2, 100 to 200", "3 a at 200", "3 b at 200")
	s.add(logs(7, "DROP:c"))
	compare(t, "a gap", all(t, r, 300), "lost 3, 200 to 300", "3 c at 300")

	s.receives, s.drops = []received{{err: nfnetlink.ErrOverrun}, {datagrams: [][]byte{logs(8, "DROP:d")}}}, 9
	compare(t, "four behind the last", all(t, r, 400), "3 d at 400", "lost 4, 400 to 400")
	s.add(logs(10, "DROP:e"), logsIn(6, 2, "DROP:f"))
	compare(t, "three of them in gaps", all(t, r, 500), "3 e at 500", "3 f at 500")
	s.add(logs(13, "DROP:g"))
	compare(t, "the fourth, and another", all(t, r, 600), "lost 1, 500 to 600", "3 g at 600")
	s.receives = []received{{err: nfnetlink.ErrOverrun}}
	s.drops = 10
	compare(t, "all are known", all(t, r, 700))
	s.add(logs(14, "DROP:h"))
	compare(t, "no gap", all(t, r, 800), "3 h at 800")
	s.add(logs(14, "DROP:i"), logs(12, "DROP:j"), logs(13, "DROP:k"))
	compare(t, "numbers that go back", all(t, r, 900), "3 i at 900", "3 j at 900", "3 k at 900")
	if r.losses.told.Load() != 10 || r.losses.overruns.Load() != 2 || r.groups[0].missing.Load()+r.groups[1].missing.Load() != 10 {
		t.Errorf("%d lost, %d overruns", r.losses.told.Load(), r.losses.overruns.Load())
	}
}

// TestDropsWrapAround has more drops than the kernel's number can say.
func TestDropsWrapAround(t *testing.T) {
	l := losses{threshold: 1}
	if first, more := l.dropped(1<<32-1), l.dropped(4); first != 1<<32-1 || more != 5 {
		t.Errorf("%d packets, then %d", first, more)
	}
}

// TestLostOfSeveral has messages of several packets: how many a dropped one had at most is known at once, how many it had shows
// the gap.
func TestLostOfSeveral(t *testing.T) {
	r, s := reads(t, `{"groups": [5], "queue_threshold": 10}`)
	s.receives, s.drops = []received{{err: nfnetlink.ErrOverrun}, {datagrams: [][]byte{logs(0, "DROP:a")}}}, 2
	compare(t, "behind the last", all(t, r, 200), "3 a at 200", "lost 20, 200 to 200")
	compare(t, "nothing new", all(t, r, 300))
	s.add(logs(16, "DROP:b"))
	compare(t, "the gap of 15", all(t, r, 400), "3 b at 400")
	s.receives = []received{{err: nfnetlink.ErrOverrun}, {datagrams: [][]byte{logs(18, "DROP:c")}}}
	compare(t, "another one", all(t, r, 500), "lost 1, 400 to 500", "3 c at 500")
	if r.losses.told.Load() != 21 || r.groups[0].missing.Load() != 16 {
		t.Errorf("%d lost, %d missing", r.losses.told.Load(), r.groups[0].missing.Load())
	}
}

// TestSocketFails ends the source with what came before.
func TestSocketFails(t *testing.T) {
	r, s := reads(t, `{"groups": [5]}`)
	broken := errors.New("broken")
	full := slices.Repeat([][]byte{logs(0, "DROP:a")}, nfnetlink.Datagrams)
	s.receives = []received{{datagrams: full}, {err: broken}}
	var b source.EventBatch
	if _, err := r.Read(&b, 0, 1); !errors.Is(err, broken) || b.N != nfnetlink.Datagrams {
		t.Errorf("%v, %d events", err, b.N)
	}
}

// TestSums reads one of everything: whatever was read is in one counter.
func TestSums(t *testing.T) {
	c, s, src := config(t, `{"groups": [5, 6]}`), new(script), &Source{socket: new(nfnetlink.Socket)}
	src.init(s, &c, 100)
	unsound := build(nil, unix.AF_INET, 5, number(attrSequence, 4), attribute{attrIn, nil})
	other, start := nfnetlink.AppendMessage(nil, nfnetlink.Message{Type: messageConfig})
	other = nfnetlink.EndMessage(other, start)
	s.add(logs(0, "DROP:a"), logs(1, "reject b"), logs(2, "allow c"), logs(3, "d"), unsound, nil, other, []byte("rubbish"),
		append(logs(5, "e"), "rubbish"...),
		build(nil, unix.AF_INET, 7, number(attrSequence, 0), payload(udp())),
		build(nil, 3, 6, header(etherARP, 0), number(attrSequence, 0), payload(make([]byte, 28))),
		build(nil, unix.AF_INET, 6, number(attrSequence, 1)),
		build(nil, unix.AF_INET, 6, payload(udp())))
	all(t, &src.reader, 1)
	got := make(map[string]uint64)
	for _, c := range src.Counters() {
		got[c.Name] = c.Value
	}
	want := map[string]uint64{
		"messages": 12, "denied": 1, "rejected": 1, "accepted": 1, "logged": 3, "not_ip": 1, "no_header": 1, "malformed": 4, "prefixes": 5,
	}
	for name, n := range got {
		if n != want[name] {
			t.Errorf("%s is %d, want %d", name, n, want[name])
		}
	}
	balanced(t, src)
}

// balanced checks the sum that the page of the source promises.
func balanced(t testing.TB, s *Source) {
	t.Helper()
	var read, counted uint64
	for _, c := range s.Counters() {
		switch c.Name {
		case "messages":
			read = c.Value
		case "denied", "rejected", "accepted", "logged", "not_ip", "no_header", "malformed":
			counted += c.Value
		}
	}
	if read != counted {
		t.Errorf("%d messages were read, %d are counted: %+v", read, counted, s.Counters())
	}
}

// TestReadDoesNotAllocate reads packets of rules that are known.
func TestReadDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	r, s := reads(t, `{"groups": [5]}`)
	stream := newStream()
	var b source.EventBatch
	full := []received{{datagrams: stream.datagrams}}
	round := func() {
		stream.renew()
		s.receives = full
		if _, err := r.Read(&b, 0, 1); err != nil || b.N != nfnetlink.Datagrams {
			t.Fatalf("%v, %d events", err, b.N)
		}
	}
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations for %d records", n, nfnetlink.Datagrams)
	}
	if r.losses.told.Load() != 0 {
		t.Error("the stream has gaps")
	}
}
