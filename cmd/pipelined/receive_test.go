package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// output is a buffer that one goroutine writes and another reads.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// receiving is a pipelined receive that runs in this process.
type receiving struct {
	t         *testing.T
	path      string
	out, errs output
	cancel    context.CancelFunc
	ended     chan error
}

// startReceive runs pipelined receive with these arguments, the path behind them.
func startReceive(t *testing.T, args ...string) *receiving {
	t.Helper()
	r := &receiving{t: t, path: filepath.Join(t.TempDir(), "s"), ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	root := newRoot()
	root.SetOut(&r.out)
	root.SetErr(&r.errs)
	root.SetArgs(append(append([]string{"receive"}, args...), r.path))
	go func() { r.ended <- root.ExecuteContext(ctx) }()
	t.Cleanup(cancel)
	return r
}

// wait waits until standard error says something.
func (r *receiving) wait(pattern string) {
	r.t.Helper()
	re := regexp.MustCompile(pattern)
	r.until(pattern, func() bool { return re.MatchString(r.errs.String()) })
}

func (r *receiving) until(what string, condition func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain for %s; standard error:\n%s", what, r.errs.String())
		}
	}
}

// stop ends the command as a signal does, and returns standard error.
func (r *receiving) stop() string {
	r.t.Helper()
	r.cancel()
	if err := <-r.ended; err != nil {
		r.t.Errorf("receive: %v", err)
	}
	return r.errs.String()
}

// feed is a producer on a connection.
type feed struct {
	t    *testing.T
	conn net.Conn
	in   *eventstream.Reader
}

func (r *receiving) dial() *feed {
	r.t.Helper()
	f := &feed{t: r.t}
	r.until("a listener", func() (ok bool) {
		var err error
		f.conn, err = net.Dial("unix", r.path)
		return err == nil
	})
	return newFeed(r.t, f.conn)
}

func newFeed(t *testing.T, conn net.Conn) *feed {
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &feed{t, conn, eventstream.NewReader(conn, 0)}
}

func (f *feed) send(b ...[]byte) {
	f.t.Helper()
	if _, err := f.conn.Write(bytes.Join(b, nil)); err != nil {
		f.t.Error(err)
	}
}

// acked waits for the acknowledgement of a number.
func (f *feed) acked(seq event.Seq) {
	f.t.Helper()
	for {
		frame, err := f.in.Next()
		if err != nil {
			f.t.Fatalf("no acknowledgement of %d: %v", seq, err)
		}
		if frame.Type() == eventstream.Ack && frame.Seq() >= seq {
			return
		}
	}
}

// gone waits until the receiver has closed the connection, and returns the highest number acknowledged before that.
func (f *feed) gone() (acked event.Seq) {
	f.t.Helper()
	for {
		frame, err := f.in.Next()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				f.t.Error("the connection was not closed")
			}
			return acked
		}
		if frame.Type() == eventstream.Ack {
			acked = frame.Seq()
		}
	}
}

func greeting(epoch uint64, first event.Seq) []byte {
	return eventstream.AppendHello(nil, eventstream.Hello{Version: 1, Epoch: epoch, First: first})
}

// events returns n records with numbers from 1 on.
func numbered(n int) []event.Record {
	records := sinktest.Records(1, n)
	for i := range records {
		records[i].SetSeq(event.Seq(i + 1))
	}
	return records
}

func framesOf(records []event.Record) (b []byte) {
	for i := range records {
		b = append(b, records[i].Frame()...)
	}
	return b
}

// printed returns records as receive prints them, without names.
func printed(t *testing.T, o format.Options, records []event.Record) (text string) {
	t.Helper()
	enc, err := format.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		text += string(enc.Append(nil, &records[i], nil)) + enc.Terminator()
	}
	return text
}

// inEmptyFolder runs a test where there is no configuration, and returns the host's name.
func inEmptyFolder(t *testing.T) (hostname string) {
	t.Helper()
	t.Chdir(t.TempDir())
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return hostname
}

// TestReceive receives from a producer that is cut off, replays, is restarted, loses records and resyncs, and compares what is
// printed and what is told.
func TestReceive(t *testing.T) {
	host := inEmptyFolder(t)
	all := numbered(60)
	r := startReceive(t)
	first := r.dial()
	first.send(greeting(7, 1), framesOf(all[:20]))
	first.acked(20)
	if got, want := r.out.String(), printed(t, format.Options{Hostname: host}, all[:20]); got != want {
		t.Errorf("acknowledged and not printed (-want +got):\n%s", cmp.Diff(want, got))
	}
	first.conn.Close()
	r.wait("disconnected")
	second := r.dial()
	second.send(greeting(7, 11), framesOf(all[10:30]), framesOf(all[32:40]))
	second.acked(40)
	second.send(eventstream.AppendControl(nil, eventstream.FullResync, 42))
	second.acked(42)
	table := sinktest.Record(event.SessionOpen, 1)
	second.send(table.Frame(), table.Frame(), eventstream.AppendControl(nil, eventstream.TableEnd, 0), framesOf(all[42:50]), eventstream.AppendFrame(nil, 99, 0, 51))
	second.acked(51)
	second.conn.Close()
	third := r.dial()
	third.send(greeting(8, 1), framesOf(all[:5]))
	third.acked(5)

	errs := r.stop()
	want := printed(t, format.Options{Hostname: host}, all[:30]) + printed(t, format.Options{Hostname: host}, all[32:40]) +
		printed(t, format.Options{Hostname: host}, all[42:50]) + printed(t, format.Options{Hostname: host}, all[:5])
	if diff := cmp.Diff(want, r.out.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
	at := 0
	for _, line := range []string{
		`level=WARN msg="no configuration: .*" config=pipeline.toml`,
		`msg=listening path=`,
		`msg=connected`,
		`msg="stream begins" epoch=7 first=1`,
		`msg=disconnected`,
		`msg="stream goes on with a replay" epoch=7 first=11 known_up_to=20`,
		`level=WARN msg="records are missing" from=31 to=32 count=2 why="not announced"`,
		`level=WARN msg="records are missing" from=41 to=42 count=2 why="announced by a resync"`,
		`level=WARN msg="resync: `,
		`msg="resync is complete" sessions=2`,
		`level=WARN msg="the producer was started again" epoch=8 first=1 epoch_before=7 received_before=51`,
		`msg=disconnected`,
		`records         51: session-open \d+, .*; printed 51`,
		`position        5 of epoch 8; acknowledged up to 5`,
		`missing         2 in 1 gaps; 2 more are announced`,
		`duplicates      10`,
		`connections     3; 1 with a replay, 1 with a restarted producer`,
		`resyncs         1; 2 sessions in their tables`,
		`not understood  0 malformed, 1 of unknown type`,
		`lag             .+ at most`,
	} {
		m := regexp.MustCompile(`(?m)^(time=\S+ (level=INFO )?)?` + line).FindStringIndex(errs[at:])
		if m == nil {
			t.Errorf("standard error does not say, in its place, %s:\n%s", line, errs)
			break
		}
		at += m[1]
	}
}

// TestReceiveFormats prints some kinds only, in each format, with the names of a configuration.
func TestReceiveFormats(t *testing.T) {
	all := numbered(100)
	var wanted []event.Record
	for _, rec := range all {
		if rec.Kind() == event.ScreenDrop || rec.Kind() == event.FilterLog || rec.Kind() == event.Loss {
			wanted = append(wanted, rec)
		}
	}
	for _, name := range format.Names() {
		r := startReceive(t, "--format", name, "--profile", "junos-22-24", "--only", "screen-drop,filter-log")
		p := r.dial()
		p.send(greeting(7, 1), framesOf(all))
		p.acked(100)
		errs := r.stop()
		got := r.out.String()
		if strings.Contains(errs, "no configuration") {
			t.Errorf("the shipped configuration is not read:\n%s", errs)
		}
		switch name {
		case format.Frames:
			if !strings.HasSuffix(got, string(framesOf(wanted))) {
				t.Error("frames are not what was sent")
			}
			var rec event.Record
			r := event.NewReader(strings.NewReader(got))
			if err := r.Next(&rec); err != nil {
				t.Fatal(err)
			}
			if names, from := r.Names(); names == nil || from != (event.Origin{Host: "edge-1", Epoch: 7}) || names.Zone(1) != "trust" {
				t.Errorf("the names are %+v, of %+v", names, from)
			}
		default:
			if n := strings.Count(got, "\n"); n != len(wanted) {
				t.Errorf("%s: %d lines, want %d", name, n, len(wanted))
			}
			if name != format.Text && !strings.Contains(got, "edge-1") || !strings.Contains(got, "trust") {
				t.Errorf("%s: the names of the configuration are missing:\n%s", name, got)
			}
		}
	}
}

// TestReceiveCount stops after so many records: those are acknowledged, no other is printed.
func TestReceiveCount(t *testing.T) {
	host := inEmptyFolder(t)
	all := numbered(30)
	r := startReceive(t, "-n", "7", "--ack-every", "1h")
	p := r.dial()
	p.send(greeting(7, 1), framesOf(all))
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if acked := p.gone(); acked != 7 {
		t.Errorf("acknowledged up to %d", acked)
	}
	if got, want := r.out.String(), printed(t, format.Options{Hostname: host}, all[:7]); got != want {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, got))
	}
}

// TestReceiveDropAfter loses the connection again and again: each record is printed once.
func TestReceiveDropAfter(t *testing.T) {
	host := inEmptyFolder(t)
	all := numbered(25)
	r := startReceive(t, "--drop-after", "10")
	next := event.Seq(1)
	for connections := 1; next <= 20; connections++ {
		p := r.dial()
		p.send(greeting(7, next), framesOf(all[next-1:]))
		acked := p.gone()
		if acked != event.Seq(10*connections) {
			t.Fatalf("connection %d was closed after %d", connections, acked)
		}
		next = acked + 1
	}
	p := r.dial()
	p.send(greeting(7, next), framesOf(all[next-1:]))
	p.acked(25)
	r.stop()
	if diff := cmp.Diff(printed(t, format.Options{Hostname: host}, all), r.out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestReceiveNoAck never acknowledges: what is replayed is not printed again.
func TestReceiveNoAck(t *testing.T) {
	host := inEmptyFolder(t)
	all := numbered(10)
	r := startReceive(t, "--no-ack", "--drop-after", "5")
	for range 2 {
		p := r.dial()
		p.send(greeting(7, 1), framesOf(all))
		if acked := p.gone(); acked != 0 {
			t.Errorf("acknowledged up to %d", acked)
		}
	}
	errs := r.stop()
	if diff := cmp.Diff(printed(t, format.Options{Hostname: host}, all), r.out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !strings.Contains(errs, "duplicates      5\n") {
		t.Errorf("duplicates:\n%s", errs)
	}
}

// TestReceiveStall stops after the first record, which is printed and not acknowledged until the pause is over.
func TestReceiveStall(t *testing.T) {
	inEmptyFolder(t)
	r := startReceive(t, "--stall", "100ms", "--stats", "10ms")
	p := r.dial()
	sent := time.Now()
	p.send(greeting(7, 1), framesOf(numbered(3)))
	r.wait("stalling, as asked")
	p.acked(3)
	if d := time.Since(sent); d < 100*time.Millisecond {
		t.Errorf("acknowledged after %v", d)
	}
	r.wait(`msg="so far" records=3 .* position=3 acked=3 .* lag=`)
	r.stop()

	r = startReceive(t, "--stall", "1h")
	p = r.dial()
	p.send(greeting(7, 1), framesOf(numbered(3)))
	r.wait("stalling, as asked")
	if n := strings.Count(r.out.String(), "\n"); n != 1 {
		t.Errorf("%d lines in the pause", n)
	}
	r.stop() // ends the pause
	if acked := p.gone(); acked != 1 {
		t.Errorf("acknowledged up to %d", acked)
	}
}

// TestReceiveSignal ends the command with a real signal.
func TestReceiveSignal(t *testing.T) {
	inEmptyFolder(t)
	r := startReceive(t, "--mode", "0600")
	r.dial()
	r.wait("msg=connected")
	if st, err := os.Stat(r.path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("permissions %v, %v", st.Mode(), err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-r.ended; err != nil {
		t.Errorf("receive: %v", err)
	}
	if !strings.Contains(r.errs.String(), "records         0: none") {
		t.Errorf("no summary:\n%s", r.errs.String())
	}
	if _, err := os.Lstat(r.path); err == nil {
		t.Error("the socket is still there")
	}
}

// TestReceiveDial connects to a producer that listens.
func TestReceiveDial(t *testing.T) {
	inEmptyFolder(t)
	r := startReceive(t, "--dial", "-n", "3")
	r.wait("cannot connect; trying on")
	l, err := eventstream.ListenUnix(r.path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := newFeed(t, conn)
	p.send(greeting(7, 1), framesOf(numbered(3)))
	p.acked(3)
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// brokenWriter takes some bytes, and no more.
type brokenWriter struct{ left int }

func (w *brokenWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

// TestReceiveBrokenOutput checks that a record which could not be written is not acknowledged.
func TestReceiveBrokenOutput(t *testing.T) {
	inEmptyFolder(t)
	r := &receiving{t: t, path: filepath.Join(t.TempDir(), "s"), ended: make(chan error, 1)}
	root := newRoot()
	root.SetOut(&brokenWriter{left: 5000})
	root.SetErr(&r.errs)
	root.SetArgs([]string{"receive", r.path})
	go func() { r.ended <- root.ExecuteContext(t.Context()) }()
	p := r.dial()
	all := numbered(30)
	p.send(greeting(7, 1), framesOf(all[:3]))
	p.acked(3)
	p.send(framesOf(all[3:]))
	if acked := p.gone(); acked > 3 {
		t.Errorf("acknowledged up to %d", acked)
	}
	if err := <-r.ended; !errors.Is(err, io.ErrShortWrite) || !strings.Contains(err.Error(), "standard output") {
		t.Errorf("receive: %v", err)
	}
}

func TestReceiveRefuses(t *testing.T) {
	file := writeFile(t, "precious", "x")
	for _, c := range []struct {
		args  []string
		want  string
		usage bool
	}{
		{[]string{}, "arg", true},
		{[]string{"--format", "xml", "/x"}, "rfc5424", true},
		{[]string{"--only", "screen-drop,policydeny", "/x"}, `"policydeny"; did you mean "policy-deny"?`, true},
		{[]string{"--no-ack", "--ack-every", "1s", "/x"}, "contradict", true},
		{[]string{"--stall", "-1s", "/x"}, "negative", true},
		{[]string{"--mode", "rw", "/x"}, `--mode.*"rw"`, true},
		{[]string{"--config", "nosuch.toml", "/x"}, "reported", false},
		{[]string{file}, "not a socket", false},
		{[]string{"/nosuch/folder/socket"}, "no such file", false},
	} {
		_, _, err := invoke(t, append([]string{"receive"}, c.args...)...)
		if err == nil || !regexp.MustCompile(c.want).MatchString(err.Error()) {
			t.Errorf("%v: %v does not say %s", c.args, err, c.want)
		}
		if _, ok := errors.AsType[*usageError](err); ok != c.usage {
			t.Errorf("%v: %v: usage error %v", c.args, err, ok)
		}
	}
}
