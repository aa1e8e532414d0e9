package eventstream_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// running is a receiver that listens or dials in the background.
type running struct {
	*journal
	r      *eventstream.Receiver
	cancel context.CancelFunc
	ended  chan error
	once   sync.Once
}

// background runs a call of a receiver until the test ends.
func background(t *testing.T, r *eventstream.Receiver, call func(ctx context.Context) error) *running {
	t.Helper()
	run := &running{journal: &journal{fail: make(map[string]error)}, r: r, ended: make(chan error, 1)}
	r.Handler = run.handler()
	ctx, cancel := context.WithCancel(t.Context())
	run.cancel = cancel
	go func() { run.ended <- call(ctx) }()
	t.Cleanup(func() { run.end(t) })
	return run
}

// end stops the call and checks that it ends because of that.
func (run *running) end(t *testing.T) {
	t.Helper()
	run.once.Do(func() {
		run.cancel()
		if err := <-run.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the call ended with %v", err)
		}
	})
}

func socketPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "events.sock")
}

func dial(t *testing.T, path string, j *journal) *producer {
	t.Helper()
	var conn net.Conn
	await.Until(t, "a listener", func() (ok bool) {
		var err error
		conn, err = net.Dial("unix", path)
		return err == nil
	})
	p := newProducer(t, conn, j)
	t.Cleanup(func() { conn.Close(); <-p.over })
	return p
}

// TestListen receives from one producer after the other, the second while the first is still there.
func TestListen(t *testing.T) {
	path := socketPath(t)
	r := &eventstream.Receiver{}
	run := background(t, r, func(ctx context.Context) error { return r.Listen(ctx, path) })
	first := dial(t, path, run.journal)
	first.send(hello(7, 1), denies(1, 3))
	run.eventually(t, "> ack 3")
	second := dial(t, path, run.journal)
	second.send(hello(7, 3), denies(3, 5))
	run.eventually(t, "> ack 5")
	run.eventually(t, "disconnected: eventstream: another producer has connected")
	<-first.over // the receiver has closed it
	second.close()
	run.eventually(t, "disconnected: <nil>")
	if s := r.Stats(); s.Connections != 2 || s.Total() != 5 || s.Duplicates != 1 || s.Connected {
		t.Errorf("%+v", s)
	}
	run.end(t)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// TestListenAgain removes the socket of a receiver: it is made again. One that somebody else has made meanwhile is left alone.
func TestListenAgain(t *testing.T) {
	path := socketPath(t)
	r := &eventstream.Receiver{Handler: new(journal).handler()}
	ended := make(chan error, 1)
	go func() { ended <- r.Listen(t.Context(), path) }()
	dial(t, path, new(journal)).close()
	for range 2 {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		p := dial(t, path, new(journal)) // waits for it
		p.send(hello(7, 1), deny(1))
		p.close()
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := eventstream.ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := <-ended; !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Listen = %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other's socket is gone: %v", err)
	}
}

// TestListenAbstract listens on a name without a file.
func TestListenAbstract(t *testing.T) {
	path := "@pipelined-" + filepath.Base(filepath.Dir(socketPath(t))) + t.Name() + strconv.Itoa(os.Getpid())
	r := &eventstream.Receiver{}
	run := background(t, r, func(ctx context.Context) error { return r.Listen(ctx, path) })
	p := dial(t, path, run.journal)
	p.send(hello(7, 1), deny(1))
	run.eventually(t, "> ack 1")
}

// TestListenFlood connects and vanishes many times at once, some with half a frame: a producer still gets through.
func TestListenFlood(t *testing.T) {
	path := socketPath(t)
	r := &eventstream.Receiver{}
	run := background(t, r, func(ctx context.Context) error { return r.Listen(ctx, path) })
	dial(t, path, run.journal).close()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 100 {
				conn, err := net.Dial("unix", path)
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 {
					_, _ = conn.Write(deny(1)[:i]) // it may be gone already
				}
				conn.Close()
			}
		})
	}
	wg.Wait()
	p := dial(t, path, run.journal)
	p.send(hello(7, 1), denies(1, 3))
	run.eventually(t, "> ack 3")
}

// TestListenEnds ends a receiver whose producer does nothing, and one whose handler is busy.
func TestListenEnds(t *testing.T) {
	path := socketPath(t)
	r := &eventstream.Receiver{}
	run := background(t, r, func(ctx context.Context) error { return r.Listen(ctx, path) })
	dial(t, path, run.journal)
	run.eventually(t, "connected")
	run.end(t)

	busy := make(chan struct{})
	r2 := &eventstream.Receiver{}
	run = background(t, r2, func(ctx context.Context) error {
		r2.Handler.Record = func(ctx context.Context, _ *event.Record) error {
			close(busy)
			<-ctx.Done()
			return nil
		}
		return r2.Listen(ctx, path)
	})
	p := dial(t, path, run.journal)
	p.send(hello(7, 1), denies(1, 3))
	<-busy
	dial(t, path, run.journal) // waits for the handler
	run.end(t)
	if s := r2.Stats(); s.Acked != 1 {
		t.Errorf("the record in hand is not acknowledged: %+v", s)
	}
}

// TestListenHandlerError checks that an error of the handler ends Listen.
func TestListenHandlerError(t *testing.T) {
	path := socketPath(t)
	oops := errors.New("oops")
	r := &eventstream.Receiver{Handler: eventstream.Handler{Record: func(context.Context, *event.Record) error { return oops }}}
	ended := make(chan error, 1)
	go func() { ended <- r.Listen(t.Context(), path) }()
	p := dial(t, path, new(journal))
	p.send(hello(7, 1), deny(1))
	if err := <-ended; !errors.Is(err, oops) {
		t.Errorf("Listen = %v", err)
	}
}

func TestListenUnix(t *testing.T) {
	path := socketPath(t)
	l, err := eventstream.ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("permissions %v, %v", st.Mode(), err)
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			accepted <- conn
		}
		close(accepted)
	}()
	if _, err := eventstream.ListenUnix(path, 0o600); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a socket that is in use: %v", err)
	}
	l.Close()
	if _, ok := <-accepted; ok {
		t.Error("looking whether somebody listens is seen as a connection")
	}
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false) // as after a kill
	left.Close()
	l, err = eventstream.ListenUnix(path, 0o666)
	if err != nil {
		t.Fatalf("a socket that was left behind: %v", err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o666 {
		t.Errorf("permissions %v, %v", st.Mode(), err)
	}
	l.Close()

	datagrams, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := eventstream.ListenUnix(path, 0o600); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a datagram socket in use: %v", err)
	}
	datagrams.Close()
	os.Remove(path)

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := eventstream.ListenUnix(path, 0o600); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("a file: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file is %q, %v", text, err)
	}
	for what, bad := range map[string]string{
		"no path": "", "a long path": "/tmp/" + strings.Repeat("x", 200), "no folder": filepath.Join(t.TempDir(), "no", "x"),
	} {
		if l, err := eventstream.ListenUnix(bad, 0o600); err == nil {
			l.Close()
			t.Errorf("%s: no error", what)
		}
	}
	abstract, err := eventstream.ListenUnix("@pipelined-test-"+filepath.Base(t.TempDir())+t.Name(), 0)
	if err != nil {
		t.Fatal(err)
	}
	abstract.Close()
}

// TestDial connects to a producer that is not there yet, comes back to it when it is cut off, and ends.
func TestDial(t *testing.T) {
	path := socketPath(t)
	r := &eventstream.Receiver{}
	run := background(t, r, func(ctx context.Context) error { return r.Dial(ctx, path) })
	run.eventually(t, "unreachable: no such file or directory")
	l, err := eventstream.ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range event.Seq(3) {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		p := newProducer(t, conn, run.journal)
		p.send(hello(7, i+1), deny(i+1))
		run.eventually(t, "> ack "+string(rune('1'+i)))
		p.close()
	}
	run.end(t)
	if s := r.Stats(); s.Total() != 3 || s.Connections != 3 || s.Replays != 0 {
		t.Errorf("%+v", s)
	}
}

// TestDialBackoff measures in virtual time how long a receiver waits for a producer that refuses it.
func TestDialBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &eventstream.Receiver{}
		var at []time.Time
		ctx, cancel := context.WithCancel(t.Context())
		err := r.Connect(ctx, func(context.Context) (net.Conn, error) {
			at = append(at, time.Now())
			if len(at) == 20 {
				here, there := net.Pipe()
				go func() {
					_, _ = there.Write(piece(hello(7, 1), deny(1)))
					_, _ = there.Read(make([]byte, event.HeaderSize))
					there.Close()
				}()
				return here, nil
			}
			if len(at) == 22 {
				cancel()
			}
			return nil, errors.New("refused")
		})
		if !errors.Is(err, context.Canceled) || len(at) != 22 {
			t.Fatalf("Connect = %v after %d attempts", err, len(at))
		}
		within := func(i int, low, high time.Duration) {
			t.Helper()
			if d := at[i].Sub(at[i-1]); d < low || d > high {
				t.Errorf("wait %d is %v, want %v to %v", i, d, low, high)
			}
		}
		within(1, 50*time.Millisecond, 150*time.Millisecond)
		within(19, 2500*time.Millisecond, 7500*time.Millisecond)
		within(20, 50*time.Millisecond, 150*time.Millisecond) // a connection that delivered something
		within(21, 75*time.Millisecond, 225*time.Millisecond)
	})
}

// TestPeersOnSockets sends many records through a real socket with a small buffer, in odd pieces, the receiver
// disconnecting now and then: the handler sees each record once, in order.
func TestPeersOnSockets(t *testing.T) {
	const records = 20_000
	path := socketPath(t)
	r := &eventstream.Receiver{}
	var seen event.Seq
	done := make(chan struct{})
	r.Handler.Record = func(_ context.Context, rec *event.Record) error {
		if rec.Seq() != seen+1 {
			t.Errorf("%d after %d", rec.Seq(), seen)
		}
		seen = rec.Seq()
		if seen%3001 == 0 {
			r.Disconnect()
		}
		if seen == records {
			close(done)
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Listen(ctx, path) }()

	acked := event.Seq(0)
	connections := 0
	for finished := false; !finished; connections++ {
		var conn net.Conn
		await.Until(t, "a listener", func() bool {
			var err error
			conn, err = net.Dial("unix", path)
			return err == nil
		})
		if err := conn.(*net.UnixConn).SetWriteBuffer(4096); err != nil {
			t.Fatal(err)
		}
		reading := make(chan struct{})
		from := acked
		go func() {
			defer close(reading)
			in := eventstream.NewReader(conn, 0)
			for {
				f, err := in.Next()
				if err != nil {
					return
				}
				if f.Type() == eventstream.Ack {
					if f.Seq() < acked {
						t.Errorf("ACK %d after %d", f.Seq(), acked)
					}
					acked = f.Seq()
				}
			}
		}()
		b := piece(hello(7, from+1), denies(from+1, records))
		for len(b) > 0 {
			n := min(len(b), 1+int(from)%1000+len(b)%500)
			if _, err := conn.Write(b[:n]); err != nil {
				break
			}
			b = b[n:]
		}
		if len(b) == 0 {
			select {
			case <-done:
				finished = true
			case <-reading:
			}
		}
		conn.Close()
		<-reading
	}
	cancel()
	<-ended
	if seen != records || connections < records/3001 {
		t.Errorf("%d records over %d connections", seen, connections)
	}
	if s := r.Stats(); s.Gaps != 0 || s.Malformed != 0 || s.Position.Seq != records {
		t.Errorf("%+v", s)
	}
}

// TestListenUnixWithoutDirectory removes the directory of the socket and brings it back: the listener says so meanwhile, and
// works again.
func TestListenUnixWithoutDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := eventstream.ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := l.Accept(); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("Accept = %v", err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = conn.Close()
		}
		accepted <- err
	}()
	for {
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
			break
		}
	}
	if err := <-accepted; err != nil {
		t.Errorf("after the directory is back: %v", err)
	}
}

// smallReads is a connection whose reads bring little.
type smallReads struct{ net.Conn }

func (c smallReads) Read(b []byte) (int, error) { return c.Conn.Read(b[:min(len(b), 1000)]) }

// TestProducerCloses checks that what a producer has sent before it closed the connection is handled, although nothing can
// be acknowledged any more.
func TestProducerCloses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	there, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	here, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := there.Write(append(hello(7, 1), denies(1, 100)...)); err != nil {
		t.Fatal(err)
	}
	there.Close()
	var last event.Seq
	r := eventstream.Receiver{Handler: eventstream.Handler{Record: func(_ context.Context, rec *event.Record) error {
		last = rec.Seq()
		return nil
	}}}
	if err := r.Serve(context.Background(), smallReads{here}); err != nil || last != 100 {
		t.Errorf("record %d was the last, and %v; want 100 and no error", last, err)
	}
}

// TestListenLink has a symbolic link in the place of a socket, before and after: neither the link nor what it leads to is touched.
func TestListenLink(t *testing.T) {
	dir := t.TempDir()
	target, path := filepath.Join(dir, "target"), filepath.Join(dir, "events.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: target, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(target, 0o640), left.Close(), os.Symlink(target, path)); err != nil {
		t.Fatal(err)
	}
	untouched := func() {
		t.Helper()
		if to, err := os.Readlink(path); to != target {
			t.Errorf("the link leads to %q, %v", to, err)
		}
		if info, err := os.Lstat(target); err != nil || info.Mode() != fs.ModeSocket|0o640 {
			t.Errorf("the target is %v, %v", info, err)
		}
	}
	if _, err := eventstream.ListenUnix(path, 0o600); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("ListenUnix: %v", err)
	}
	untouched()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l, err := eventstream.ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path), os.Symlink(target, path), l.Close()); err != nil {
		t.Fatal(err)
	}
	untouched()
}
