package unixsock_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/unixsock"
)

// listening is a sink that listens, run again and again as the daemon does.
type listening struct {
	*sinktest.Stream
	t       *testing.T
	sink    *unixsock.Sink
	path    string
	lastErr atomic.Pointer[error]
	stop    func()
}

func startListening(t *testing.T, path string, more func(*unixsock.ListenConfig)) *listening {
	t.Helper()
	l := &listening{t: t, Stream: sinktest.NewStream(t), path: path}
	c := unixsock.ListenConfig{Path: path, Permissions: 0o600, Warn: func(string, ...any) {}}
	if more != nil {
		more(&c)
	}
	l.sink = unixsock.New(unixsock.Config{Connector: unixsock.Listener(c)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			err := l.Run(ctx, l.sink)
			l.lastErr.Store(&err)
		}
	}()
	stopped := false
	l.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
			if err := l.sink.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	}
	t.Cleanup(l.stop)
	return l
}

// dial connects a receiver; it may come before the socket is there.
func (l *listening) dial() net.Conn {
	l.t.Helper()
	var conn net.Conn
	await.Until(l.t, "connect", func() (ok bool) {
		c, err := net.Dial("unix", l.path)
		conn = c
		return err == nil
	})
	l.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(await.Patience)); err != nil {
		l.t.Fatal(err)
	}
	return conn
}

func (l *listening) counter(name string) uint64 {
	for _, c := range l.sink.Counters() {
		if c.Name == name {
			return c.Value
		}
	}
	return 0
}

// greeted reports whether a connection begins with a hello.
func greeted(conn net.Conn) bool {
	f, err := eventstream.NewReader(conn, 0).Next()
	return err == nil && f.Type() == eventstream.HelloFrame
}

func TestListenRefuses(t *testing.T) {
	l := startListening(t, filepath.Join(t.TempDir(), "s"), nil)
	first := l.dial()
	if !greeted(first) {
		t.Fatal("the first receiver got nothing")
	}
	second := l.dial()
	if greeted(second) {
		t.Fatal("a second receiver was served")
	}
	if l.counter("connections_refused") != 1 || l.counter("connections") != 1 {
		t.Errorf("%d refused of %d", l.counter("connections_refused"), l.counter("connections"))
	}
	l.Append(sessions(1)...)
	if f, err := eventstream.NewReader(first, 0).Next(); err != nil || f.Seq() != 1 {
		t.Errorf("the first receiver is not served any more: %v", err)
	}
	_ = first.Close()
	await.Until(t, "the next receiver", func() bool { return greeted(l.dial()) })
}

func TestListenTakeover(t *testing.T) {
	l := startListening(t, filepath.Join(t.TempDir(), "s"), func(c *unixsock.ListenConfig) { c.Takeover = true })
	l.Append(sessions(3)...)
	first := l.dial()
	in := eventstream.NewReader(first, 0)
	for range 4 { // the hello and three records
		if _, err := in.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := first.Write(eventstream.AppendControl(nil, eventstream.Ack, 2)); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitAcked(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	in2 := eventstream.NewReader(l.dial(), 0)
	if f, err := in2.Next(); err != nil || f.Type() != eventstream.HelloFrame {
		t.Fatalf("the second receiver: %v", err)
	}
	if f, err := in2.Next(); err != nil || f.Seq() != 3 {
		t.Errorf("the second receiver does not go on behind the first: %v", err)
	}
	if _, err := in.Next(); err == nil {
		t.Error("the first receiver is still connected")
	}
	if l.counter("taken_over") != 1 {
		t.Errorf("taken over %d times", l.counter("taken_over"))
	}
}

// TestListenTakeoverOfStalled takes over from a receiver that does not read, while the sink is writing to it.
func TestListenTakeoverOfStalled(t *testing.T) {
	l := startListening(t, filepath.Join(t.TempDir(), "s"), func(c *unixsock.ListenConfig) { c.Takeover = true })
	l.Append(sessions(20_000)...)
	l.dial()
	for i := range uint64(20) {
		await.Until(t, "the socket is full", func() bool { return l.sink.Status().(unixsock.Status).State == unixsock.Streaming })
		next := l.dial()
		await.Until(t, "the takeover", func() bool { return l.counter("taken_over") == i+1 })
		if !greeted(next) { // by the next run
			t.Fatal("the receiver that took over got nothing")
		}
		if err := l.lastErr.Load(); err == nil || !strings.Contains((*err).Error(), "another receiver has taken over") {
			t.Fatalf("the run ended with %v", err)
		}
	}
}

// TestListenQuickReconnect closes and connects again at once: the sink may not have noticed the first, and must not refuse
// the second for it.
func TestListenQuickReconnect(t *testing.T) {
	l := startListening(t, filepath.Join(t.TempDir(), "s"), nil)
	for range 200 {
		conn := l.dial()
		if !greeted(conn) {
			t.Fatal("refused")
		}
		_ = conn.Close()
	}
	if n := l.counter("connections_refused"); n != 0 {
		t.Errorf("%d refused", n)
	}
}

// TestListenSocket checks the file of the socket: its permissions, that it takes the place of a stale one, comes back when
// somebody has deleted it, and goes with the sink.
func TestListenSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()
	l := startListening(t, path, func(c *unixsock.ListenConfig) { c.Permissions = 0o640 })
	if !greeted(l.dial()) {
		t.Fatal("no hello")
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode() != fs.ModeSocket|0o640 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	l.stop()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestListenSocketComesBack(t *testing.T) {
	l := startListening(t, filepath.Join(t.TempDir(), "s"), nil)
	await.Until(t, "the socket", func() bool { _, err := os.Stat(l.path); return err == nil })
	if err := os.Remove(l.path); err != nil {
		t.Fatal(err)
	}
	if !greeted(l.dial()) {
		t.Fatal("no hello")
	}
}

// TestListenInTheWay checks that nothing of anybody else is touched.
func TestListenInTheWay(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	busy := filepath.Join(dir, "busy")
	other, err := net.Listen("unix", busy)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for path, want := range map[string]string{
		file:                               "is there and is not a socket",
		busy:                               "somebody listens there",
		filepath.Join(dir, "missing", "s"): "is its directory there",
	} {
		l := startListening(t, path, nil)
		await.Until(t, want, func() bool {
			err := l.lastErr.Load()
			return err != nil && strings.Contains((*err).Error(), want)
		})
		l.stop()
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := net.Dial("unix", busy); err != nil {
		t.Errorf("the other's socket is gone: %v", err)
	}
}

func TestListenAbstract(t *testing.T) {
	l := startListening(t, "@pipelined-test-"+filepath.Base(t.TempDir())+t.Name(), nil)
	if !greeted(l.dial()) {
		t.Fatal("no hello")
	}
	st := l.sink.Status().(unixsock.Status)
	if st.Receiver != fmt.Sprintf("pid %d, uid %d", os.Getpid(), os.Getuid()) {
		t.Errorf("status %+v", st)
	}
}

// TestListenChurn connects receivers that vanish at once, again and again: the next good one is served, and nothing is
// left behind (see TestMain).
func TestListenChurn(t *testing.T) {
	l := startListening(t, filepath.Join(t.TempDir(), "s"), nil)
	l.Append(sessions(5)...)
	for range 100 {
		_ = l.dial().Close()
	}
	await.Until(t, "a good receiver", func() bool {
		conn := l.dial()
		go takeAll(conn)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return l.WaitAcked(ctx, 5) == nil
	})
}

// TestReconnectOverSocket checks that what was acknowledged over one socket is not sent over the next.
func TestReconnectOverSocket(t *testing.T) {
	l := startListening(t, filepath.Join(t.TempDir(), "s"), nil)
	const n = 20_000
	l.Append(sessions(n)...)
	var got, want event.Seq
	for want < n {
		conn := l.dial()
		in := eventstream.NewReader(conn, 1<<16)
		if _, err := in.Next(); err != nil {
			continue // it came before the sink knew that the one before had gone
		}
		for range min(3000, int(n-want)) {
			f, err := in.Next()
			if err != nil {
				t.Fatal(err)
			}
			if got = f.Seq(); got > want+1 {
				t.Fatalf("record %d follows %d", got, want)
			}
			want = max(want, got)
		}
		if _, err := conn.Write(eventstream.AppendControl(nil, eventstream.Ack, want)); err != nil {
			t.Fatal(err)
		}
		if err := l.WaitAcked(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
}

// TestPeers checks in both modes that a peer which is not allowed is sent nothing, and that an allowed one is served.
func TestPeers(t *testing.T) {
	self, other := fmt.Sprint(os.Getuid()), fmt.Sprint(os.Getuid()+1)
	group, otherGroup := fmt.Sprint(os.Getgid()), fmt.Sprint(os.Getgid()+1)
	for _, c := range []struct {
		peers unixsock.Peers
		may   bool
	}{
		{unixsock.Peers{}, true},
		{unixsock.Peers{Users: []string{other, self}}, true},
		{unixsock.Peers{Users: []string{other}, Groups: []string{group}}, true},
		{unixsock.Peers{Users: []string{other}}, false},
		{unixsock.Peers{Groups: []string{otherGroup}}, false},
		{unixsock.Peers{Users: []string{"no such user"}}, false},
	} {
		l := startListening(t, filepath.Join(t.TempDir(), "s"), func(lc *unixsock.ListenConfig) { lc.Peers = c.peers })
		if got := greeted(l.dial()); got != c.may {
			t.Errorf("%+v: served %v, want %v", c.peers, got, c.may)
		}
		if refused := l.counter("connections_refused"); (refused == 0) != c.may {
			t.Errorf("%+v: %d refused", c.peers, refused)
		}
		path := filepath.Join(t.TempDir(), "d")
		receiver, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := unixsock.Dialer(path, c.peers).Connect(t.Context(), nil)
		if (err == nil) != c.may || err != nil && !strings.Contains(err.Error(), "not allowed by peer_user and peer_group") {
			t.Errorf("%+v: %v", c.peers, err)
		}
		if conn != nil {
			_ = conn.Close()
		}
		_ = receiver.Close()
	}
}

// TestListenThroughLink checks that a link which leads elsewhere is neither replaced nor followed.
func TestListenThroughLink(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "precious")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	if err := os.Symlink(file, path); err != nil {
		t.Fatal(err)
	}
	l := startListening(t, path, func(c *unixsock.ListenConfig) { c.Permissions = 0o666 })
	await.Until(t, "an error", func() bool {
		err := l.lastErr.Load()
		return err != nil && *err != nil && strings.Contains((*err).Error(), "is there and is not a socket")
	})
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}
