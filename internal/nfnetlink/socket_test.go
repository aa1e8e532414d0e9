package nfnetlink

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/internal/testing/race"
)

// open opens a socket in a namespace of its own.
func open(t *testing.T, datagrams, size int) (*nettest.Host, *Socket) {
	t.Helper()
	nettest.Require(t)
	host := nettest.NewHost(t)
	var s *Socket
	var err error
	host.Do(func() { s, err = OpenSized(datagrams, size) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return host, s
}

// get is a request to which the kernel answers with one message: the global statistics of conntrack.
func get(s *Socket, flags uint16) []byte {
	const stats = unix.NFNL_SUBSYS_CTNETLINK<<8 | 5 // IPCTNL_MSG_CT_GET_STATS
	b, start := AppendMessage(nil, Message{Type: stats, Flags: unix.NLM_F_REQUEST | flags, Seq: s.NextSeq()})
	return EndMessage(b, start)
}

func TestReceive(t *testing.T) {
	_, s := open(t, 4, 4096)
	if n, err := s.Receive(); n != 0 || err != nil {
		t.Fatalf("nothing was asked: %d, %v", n, err)
	}
	var requests []byte
	for range 6 {
		requests = append(requests, get(s, 0)...)
	}
	if err := s.Send(requests); err != nil {
		t.Fatal(err)
	}
	seq := uint32(0)
	for _, want := range []int{4, 2, 0} {
		n, err := s.Receive()
		if n != want || err != nil {
			t.Fatalf("received %d, %v, want %d", n, err, want)
		}
		for i := range n {
			seq++
			if m, rest, ok := NextMessage(s.Datagram(i)); !ok || m.Seq != seq || len(rest) != 0 || m.Type != unix.NFNL_SUBSYS_CTNETLINK<<8|5 {
				t.Errorf("datagram %d: %+v, %x, %v", i, m, rest, ok)
			}
		}
	}
}

func TestExecute(t *testing.T) {
	_, s := open(t, 4, 4096)
	others := 0
	if err := s.Execute(get(s, unix.NLM_F_ACK), 10*time.Second, func(Message) { others++ }); err != nil || others != 1 {
		t.Errorf("%v, %d other messages", err, others)
	}
	b, start := AppendMessage(nil, Message{Type: 0xfe00, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, Seq: s.NextSeq()})
	if err := s.Execute(EndMessage(b, start), 10*time.Second, nil); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a subsystem that does not exist: %v", err)
	}
	if err := s.Execute(get(s, 0), time.Millisecond, nil); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("no acknowledgement was asked for: %v", err)
	}
	if err := s.Execute([]byte("x"), time.Millisecond, nil); err == nil {
		t.Error("a malformed request was sent")
	}
}

// TestForeign sends to the socket from another one: no process may tell of events.
func TestForeign(t *testing.T) {
	host, s := open(t, 4, 1024)
	name, err := unix.Getsockname(s.FD())
	if err != nil {
		t.Fatal(err)
	}
	var other *Socket
	host.Do(func() { other, err = Open() })
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := unix.Sendto(other.FD(), example(), 0, name); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(get(s, 0)); err != nil {
		t.Fatal(err)
	}
	n, err := s.Receive()
	if n != 2 || err != nil || len(s.Datagram(0)) != 0 || len(s.Datagram(1)) == 0 || s.Skipped() != 1 {
		t.Errorf("received %d, %v, skipped %d", n, err, s.Skipped())
	}
}

func TestTooLong(t *testing.T) {
	_, s := open(t, 4, 32)
	if err := s.Send(get(s, 0)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Receive(); n != 1 || err != nil || len(s.Datagram(0)) != 0 || s.Skipped() != 1 {
		t.Errorf("received %d, %v, %x, skipped %d", n, err, s.Datagram(0), s.Skipped())
	}
}

func TestOverrun(t *testing.T) {
	host, s := open(t, 4, 4096)
	if got, err := s.SetBuffer(1 << 20); err != nil || got != 1<<20 {
		t.Errorf("buffer of %d, %v", got, err)
	}
	if _, err := s.SetBuffer(1); err != nil { // the kernel's least
		t.Fatal(err)
	}
	if err := s.Join(unix.NFNLGRP_NFTABLES); err != nil {
		t.Fatal(err)
	}
	if drops, err := s.Drops(); drops != 0 || err != nil {
		t.Fatalf("%d drops, %v", drops, err)
	}
	for range 20 {
		host.Run("nft", "add table inet x; delete table inet x")
	}
	if _, err := s.Receive(); !errors.Is(err, ErrOverrun) {
		t.Fatalf("received with %v", err)
	}
	if drops, err := s.Drops(); err != nil || drops == 0 {
		t.Errorf("%d drops, %v", drops, err)
	}
	received := 0
	for {
		n, err := s.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		received += n
	}
	if received == 0 {
		t.Error("nothing was received after the overrun")
	}
	host.Run("nft", "add table inet x")
	if n, err := s.Receive(); n == 0 || err != nil {
		t.Errorf("received %d, %v after the queue was empty", n, err)
	}
}

// TestPermission takes the capabilities of a thread away, which ends with its goroutine.
func TestPermission(t *testing.T) {
	_, s := open(t, 4, 4096)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		none := [2]unix.CapUserData{}
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
			t.Error(err)
			return
		}
		if err := s.Join(unix.NFNLGRP_CONNTRACK_NEW); !errors.Is(err, ErrPermission) {
			t.Errorf("joined: %v", err)
		}
		if err := s.Execute(get(s, unix.NLM_F_ACK), 10*time.Second, nil); !errors.Is(err, ErrPermission) {
			t.Errorf("executed: %v", err)
		}
		if got, err := s.SetBuffer(1 << 30); got == 0 || got >= 1<<30 || err != nil {
			t.Errorf("granted %d, %v", got, err)
		}
	}()
	<-done
}

func TestReceiveDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	_, s := open(t, 4, 4096)
	request := get(s, 0)
	if n := testing.AllocsPerRun(100, func() {
		if err := s.Send(request); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Receive(); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		for m, rest, ok := NextMessage(s.Datagram(0)); ok; m, rest, ok = NextMessage(rest) {
			for _, _, rest, ok := NextAttr(m.Attrs); ok; _, _, rest, ok = NextAttr(rest) {
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestExecuteAfterOverrun has the kernel carry a request out though the socket was full of what a group was sent.
func TestExecuteAfterOverrun(t *testing.T) {
	host, s := open(t, 4, 4096)
	if _, err := s.SetBuffer(1); err != nil { // the kernel's least
		t.Fatal(err)
	}
	if err := s.Join(unix.NFNLGRP_NFTABLES); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		host.Run("nft", "add table inet x; delete table inet x")
	}
	if err := s.Execute(get(s, unix.NLM_F_ACK), 10*time.Second, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(); !errors.Is(err, ErrOverrun) {
		t.Errorf("received with %v", err)
	}
	if n, err := s.Receive(); n != 0 || err != nil {
		t.Errorf("received %d, %v", n, err)
	}
}
