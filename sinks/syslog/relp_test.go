package syslog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

func TestRELPFrames(t *testing.T) {
	for frame, want := range map[string]relpFrame{
		"1 rsp 6 200 OK\n":                        {1, "rsp", []byte("200 OK")},
		"0 serverclose 0\n":                       {0, "serverclose", nil},
		"999999999 rsp 0\n":                       {999999999, "rsp", nil},
		"2 rsp 5 a\nb\nc\n":                       {2, "rsp", []byte("a\nb\nc")},
		"3 rsp 1  \n":                             {3, "rsp", []byte(" ")},
		string(appendRELP(nil, 7, "syslog", nil)): {7, "syslog", nil},
	} {
		got, err := newRELPReader(strings.NewReader(frame)).next()
		if err != nil {
			t.Errorf("%q: %v", frame, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(relpFrame{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", frame, diff)
		}
	}
	for frame, want := range map[string]error{
		"":                                      io.EOF,
		"1":                                     io.ErrUnexpectedEOF,
		"1 rsp":                                 io.ErrUnexpectedEOF,
		"1 rsp 6 200":                           io.ErrUnexpectedEOF,
		"1 rsp 6 200 OK":                        io.ErrUnexpectedEOF,
		"x":                                     errRELP,
		"1000000000 rsp 0\n":                    errRELP,
		"1\n":                                   errRELP,
		"1  0\n":                                errRELP,
		"1 RSP 0\n":                             errRELP,
		"1 rsp 65537 x":                         errRELP,
		"1 rsp 2\n":                             errRELP,
		"1 rsp 2 abc\n":                         errRELP,
		"1 " + strings.Repeat("a", 33) + " 0\n": errRELP,
		"220 smtp.example.net\r\n":              errRELP,
	} {
		if _, err := newRELPReader(strings.NewReader(frame)).next(); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", frame, err, want)
		}
	}
}

// FuzzRELPFrames checks that whatever a peer sends is a frame or an error, and that frames come back as they were written,
// however the bytes are cut.
func FuzzRELPFrames(f *testing.F) {
	f.Add([]byte("1 rsp 6 200 OK\n2 rsp 0\n"), uint32(3), []byte("data\n"))
	f.Add([]byte("1 rsp 65536 "), uint32(0), []byte{})
	f.Fuzz(func(t *testing.T, raw []byte, txnr uint32, data []byte) {
		r := newRELPReader(bytes.NewReader(raw))
		for {
			fr, err := r.next()
			if err != nil {
				break
			}
			if len(fr.data) > maxAnswer || fr.txnr > maxTxnr {
				t.Fatalf("%+v is out of bounds", fr)
			}
			answerCode(fr.data)
		}
		txnr %= maxTxnr + 1
		data = data[:min(len(data), maxAnswer)]
		in := appendRELP(appendRELP(nil, txnr, relpSyslog, data), txnr, relpClose, nil)
		r = &relpReader{in: bufio.NewReaderSize(iotestOneByte{bytes.NewReader(in)}, 16)}
		first, err := r.next()
		if err != nil || first.txnr != txnr || first.command != relpSyslog || !bytes.Equal(first.data, data) {
			t.Fatalf("%+v, %v", first, err)
		}
		if second, err := r.next(); err != nil || second.command != relpClose {
			t.Fatalf("%+v, %v", second, err)
		}
	})
}

// iotestOneByte gives a byte at a time.
type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return o.r.Read(p[:1])
}

// TestRELPAllocations pins that an answer costs no allocation.
func TestRELPAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	const n = 1000
	var all []byte
	for i := range uint32(n) {
		all = appendRELP(all, i+2, relpResponse, []byte("200 OK"))
	}
	a := newReplies(2, n)
	in := bytes.NewReader(all)
	r := newRELPReader(in)
	took := func() error {
		f, err := r.next()
		if err != nil {
			return err
		}
		position, err := a.take(f.txnr, n)
		if err != nil {
			return err
		}
		if code, _ := answerCode(f.data); code != 200 {
			return fmt.Errorf("code %d", code)
		}
		a.good(position)
		return nil
	}
	if err := took(); err != nil { // the first makes room for the data
		t.Fatal(err)
	}
	if got := testing.AllocsPerRun(n-10, func() {
		if err := took(); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("%v allocations for an answer", got)
	}
}

func TestAnswerCode(t *testing.T) {
	for data, want := range map[string]string{
		"200 OK": "200 OK", "200": "200 ", "200 OK\nrelp_version=0": "200 OK", "500 error 1": "500 error 1", "": "0 ", "OK": "0 OK",
		"2000 x": "0 2000 x", "abc d": "0 abc d", "OK\nx": "0 OK",
	} {
		code, text := answerCode([]byte(data))
		if got := fmt.Sprintf("%d %s", code, text); got != want {
			t.Errorf("%q is %q, want %q", data, got, want)
		}
	}
}

// TestAnswers answers transactions in any order within the window, over the end of the circle of numbers.
func TestAnswers(t *testing.T) {
	const window = 50
	rng := rand.New(rand.NewPCG(1, 2))
	first := uint32(maxTxnr - 500)
	a := newReplies(first, window)
	txnr := func(position uint64) uint32 {
		n := first
		for range position - 1 {
			n = nextTxnr(n)
		}
		return n
	}
	const n = 1000
	done := make([]bool, n+2)
	framed := uint64(0)
	for a.acked() < n {
		framed = min(n, a.acked()+1+rng.Uint64N(window))
		position := a.acked() + 1 + rng.Uint64N(framed-a.acked())
		got, err := a.take(txnr(position), framed)
		if err != nil || got != position {
			t.Fatalf("%d, %v, want %d", got, err, position)
		}
		a.good(position)
		done[position] = true
		want := a.acked()
		if done[want+1] {
			t.Fatalf("%d is answered, acknowledged are %d", want+1, want)
		}
		for p := uint64(1); p <= want; p++ {
			if !done[p] {
				t.Fatalf("%d is not answered, acknowledged are %d", p, want)
			}
		}
	}
	for _, bad := range []uint32{0, txnr(n), txnr(1), nextTxnr(txnr(n)), maxTxnr + 1} {
		if p, err := a.take(bad, framed); err == nil {
			t.Errorf("transaction %d is position %d", bad, p)
		}
	}
}

// TestRELPPeers is what becomes of a sink whose peer does not do as RELP says: a clear error in time, and nothing acknowledged.
func TestRELPPeers(t *testing.T) {
	opened := "1 rsp 53 200 OK\nrelp_version=0\nrelp_software=x\ncommands=syslog\n"
	say := func(answers ...string) peerFunc {
		return func(c net.Conn) {
			in := newRELPReader(c)
			for _, a := range answers {
				if _, err := in.next(); err != nil {
					return
				}
				if _, err := io.WriteString(c, a); err != nil {
					return
				}
			}
			silent(c)
		}
	}
	for _, c := range []struct {
		name string
		peer peerFunc
		more string // in the table of the sink
		want string
	}{
		{"silent", silent, `connect_timeout = "300ms"`, "no RELP session within 300ms"},
		{"closes", func(net.Conn) {}, "", "closed the connection instead|reset"},
		{"another protocol", func(c net.Conn) { _, _ = io.WriteString(c, "220 ready\r\n"); silent(c) }, "", "does not speak RELP"},
		{"refuses", say("1 rsp 7 500 bad\n"), "", "refused a RELP session: 500 bad"},
		{"no syslog", say("1 rsp 6 200 OK\n"), "", "takes no syslog messages"},
		{"answers something else", say("2 rsp 6 200 OK\n"), "", `answered "rsp"`},
		{"opens and is silent", say(opened), `write_timeout = "300ms"`, "acknowledged nothing for 300ms"},
		{"closes the session", say(opened, "0 serverclose 0\n"), "", "ended the RELP session"},
		{"answers what was not sent", say(opened, "4711 rsp 6 200 OK\n"), "", "waits for no answer"},
		{"sends a command", say(opened, "2 syslog 1 x\n"), "", `sent a RELP command "syslog"`},
		{"sends garbage", say(opened, "\x00\xff"), "", "not a RELP frame"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sink := newTestSink(t, c.more, "relp://"+listenFunc(t, c.peer))
			s := sinktest.NewStream(t)
			s.Append(numbered(5)...)
			s.Drain()
			err := s.Run(t.Context(), sink)
			if err == nil || s.Acked() != 0 {
				t.Fatalf("%v, acknowledged up to %d", err, s.Acked())
			}
			found := false
			for w := range strings.SplitSeq(c.want, "|") {
				found = found || strings.Contains(err.Error(), w)
			}
			if !found {
				t.Errorf("%q does not say %q", err, c.want)
			}
		})
	}
}

// TestRELPRefused pins that a record that the collector refuses three times is rejected, and the others are delivered once.
func TestRELPRefused(t *testing.T) {
	c := listen(t, "relp", "", nil)
	c.refuse = func(msg string) bool { return strings.Contains(msg, `session-id-32="30"`) }
	s := sinktest.NewStream(t)
	s.Append(numbered(50)...)
	r := keepRunning(t, s, newTestSink(t, "", c.address))
	waitAcked(t, s, 50)
	r.stop()
	if got := s.Rejected(); len(got) != 1 || got[30] != "500 no" {
		t.Errorf("rejected %v", got)
	}
	seen := map[string]bool{}
	for _, m := range c.messages() {
		seen[m] = true
	}
	if len(seen) != 49 {
		t.Errorf("%d records arrived", len(seen))
	}
	if n := strings.Count(r.errors(), "refused a message: 500 no"); n != 3 {
		t.Errorf("%d refusals:\n%s", n, r.errors())
	}
}

// TestRELPRefusesAll has a collector that takes nothing for a while: nothing is given up, and everything arrives.
func TestRELPRefusesAll(t *testing.T) {
	var refused, broken atomic.Int64
	broken.Store(1)
	c := listen(t, "relp", "", nil)
	c.refuse = func(string) bool {
		if broken.Load() == 0 {
			return false
		}
		refused.Add(1)
		return true
	}
	s := sinktest.NewStream(t)
	s.Append(numbered(50)...)
	r := keepRunning(t, s, newTestSink(t, `write_timeout = "200ms"`, c.address))
	await.Until(t, "the collector has refused often", func() bool { return strings.Count(r.errors(), "500 no") > 9 })
	broken.Store(0)
	waitAcked(t, s, 50)
	r.stop()
	if got := s.Rejected(); len(got) != 0 || refused.Load() < 50 {
		t.Errorf("rejected %v after %d refusals", got, refused.Load())
	}
	c.expect(want(t, format.Options{}, 1, numbered(50)...))
}

// TestRELPRefusedNarrow gives up a record also where only one message may wait for an answer.
func TestRELPRefusedNarrow(t *testing.T) {
	c := listen(t, "relp", "", nil)
	c.refuse = func(msg string) bool { return strings.Contains(msg, `session-id-32="3"`) }
	s := sinktest.NewStream(t)
	s.Append(numbered(5)...)
	r := keepRunning(t, s, newTestSink(t, "window = 1", c.address))
	waitAcked(t, s, 5)
	r.stop()
	if got := s.Rejected(); len(got) != 1 || got[3] != "500 no" {
		t.Errorf("rejected %v", got)
	}
}

// TestAllRefused has two collectors that refuse different records: each gives up its own, and both get the rest.
func TestAllRefused(t *testing.T) {
	a, b := listen(t, "relp", "", nil), listen(t, "relp", "", nil)
	a.refuse = func(m string) bool { return strings.Contains(m, `session-id-32="10"`) }
	b.refuse = func(m string) bool { return strings.Contains(m, `session-id-32="20"`) }
	s := sinktest.NewStream(t)
	s.Append(numbered(100)...)
	r := keepRunning(t, s, newTestSink(t, `strategy = "all"`, a.address, b.address))
	waitAcked(t, s, 100)
	r.stop()
	if got := s.Rejected(); len(got) != 2 || got[10] != "500 no" || got[20] != "500 no" {
		t.Errorf("rejected %v", got)
	}
	for _, c := range []*collector{a, b} {
		seen := map[string]bool{}
		for _, m := range c.messages() {
			seen[m] = true
		}
		if len(seen) != 99 {
			t.Errorf("%s has %d records, want 99", c.address, len(seen))
		}
	}
}

// TestMarks compares the ring buffer of marks with a slice.
func TestMarks(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var m marks
	var model []mark
	end, seq := uint64(0), event.Seq(0)
	for range 20_000 {
		switch rng.IntN(3) {
		case 0, 1:
			for range rng.IntN(20) {
				end += rng.Uint64N(3)
				seq += 1 + event.Seq(rng.Uint64N(2))
				m.push(end, seq)
				model = append(model, mark{end, seq})
			}
		case 2:
			position := end - min(end, rng.Uint64N(60))
			var want event.Seq
			for len(model) > 0 && model[0].end <= position {
				want = model[0].seq
				model = model[1:]
			}
			if got := m.release(position); got != want {
				t.Fatalf("release(%d) = %d, want %d", position, got, want)
			}
		}
		if m.len() != len(model) {
			t.Fatalf("%d marks, want %d", m.len(), len(model))
		}
		if len(model) > 0 {
			k := model[len(model)/2]
			if got := m.at(k.end); got == 0 || got > k.seq {
				t.Fatalf("at(%d) = %d, want %d or one before it", k.end, got, k.seq)
			}
		}
	}
}
