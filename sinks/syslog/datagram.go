package syslog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/sdk/event"
)

const (
	// datagramBatch is how many datagrams one system call sends.
	datagramBatch = 128
	// doubtFor is how long a datagram counts as not delivered after a connection has begun: a host without a collector
	// answers within that time that the port is unreachable.
	doubtFor = 100 * time.Millisecond
)

// datagramDialer opens sockets of the schemes udp and unixgram.
type datagramDialer struct {
	address address
	limits  limits
	counts  *counts
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
	turn    atomic.Uint64 // which of several addresses of a name is tried first: the next one after each that failed
}

// datagrams sends a message per datagram. Its position counts messages.
type datagrams struct {
	net.Conn
	limits   limits
	counts   *counts
	transmit func(b []byte, ends []int) (sent int, err error) // some of the messages

	ends   []int // of the messages in what was framed
	framed uint64
	sent   uint64
	trust  time.Time
	fail   func() // notes that this address does not work

	info        peerInfo
	broken      *breakage
	interrupted atomic.Bool
}

var _ conn = (*datagrams)(nil)

func (d *datagramDialer) dial(ctx context.Context, wake func()) (conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.limits.connect)
	defer cancel()
	c, err := d.connect(ctx)
	if err != nil {
		return nil, explainDial(ctx, err, d.limits.connect)
	}
	g := &datagrams{
		Conn: c, limits: d.limits, counts: d.counts, info: peerInfo{remote: d.address.target}, broken: newBreakage(),
		fail: sync.OnceFunc(func() { d.turn.Add(1) }),
	}
	g.transmit = g.sendEach
	if u, ok := c.(*net.UDPConn); ok {
		g.useUDP(u)
	}
	go g.read(wake)
	return g, nil
}

// connect connects to the first address of the name that there is a way to. Nobody answers to that: an address where nobody
// listens is found out later, and the next connection begins with the one behind it.
func (d *datagramDialer) connect(ctx context.Context) (net.Conn, error) {
	nd := net.Dialer{Control: discoverMTU}
	targets := []string{d.address.target}
	if d.address.scheme == "udp" {
		host, port, err := net.SplitHostPort(d.address.target)
		if err != nil {
			return nil, err
		}
		addrs, err := d.lookup(ctx, host)
		if err != nil {
			return nil, err
		}
		targets = targets[:0]
		for _, a := range addrs {
			targets = append(targets, net.JoinHostPort(a.Unmap().String(), port))
		}
	}
	var errs []error
	first := d.turn.Load()
	for i := range targets {
		c, err := nd.DialContext(ctx, d.address.scheme, targets[(first+uint64(i))%uint64(len(targets))])
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	return nil, errors.Join(errs...)
}

// lookupHost returns the addresses of a name or of an address.
func lookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// useUDP sends many datagrams in one system call.
func (g *datagrams) useUDP(u *net.UDPConn) {
	g.trust = time.Now().Add(doubtFor)
	g.info.remote = u.RemoteAddr().String()
	g.info.pathMTU = pathMTU(u)
	batch := make([]ipv4.Message, datagramBatch)
	for i := range batch {
		batch[i].Buffers = make([][]byte, 1)
	}
	p := ipv4.NewPacketConn(u) // of IPv6, too: sendmmsg(2) knows no family
	g.transmit = func(b []byte, ends []int) (int, error) {
		n := min(len(ends), datagramBatch)
		start, longest := 0, 0
		for i, end := range ends[:n] {
			batch[i].Buffers[0] = b[start:end]
			longest = max(longest, end-start)
			start = end
		}
		g.countFragmented(u, ends[:n], longest)
		return p.WriteBatch(batch[:n], 0)
	}
}

// sendEach sends one datagram after the other.
func (g *datagrams) sendEach(b []byte, ends []int) (sent int, err error) {
	start := 0
	for _, end := range ends {
		if _, err := g.Write(b[start:end]); err != nil {
			return sent, err
		}
		sent++
		start = end
	}
	return sent, nil
}

// read hears of what became of earlier datagrams: that nobody listens, above all.
func (g *datagrams) read(wake func()) {
	defer close(g.broken.done)
	var sink [64]byte
	for {
		if _, err := g.Read(sink[:]); err != nil {
			if !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
				g.counts.sendErrors.Add(1)
				g.fail()
			}
			g.broken.set(explainDatagram(err))
			wake()
			return
		}
	}
}

func (g *datagrams) head(b []byte, _ event.Kind) []byte { return b }

func (g *datagrams) tail(b []byte) ([]byte, uint64) {
	g.ends = append(g.ends, len(b))
	g.framed++
	return b, g.framed
}

func (g *datagrams) position() uint64         { return g.framed }
func (g *datagrams) limit() int               { return maxMarks }
func (g *datagrams) changed() <-chan struct{} { return nil }
func (g *datagrams) patience() time.Duration  { return 0 }
func (g *datagrams) answers() bool            { return false }
func (g *datagrams) failed() error            { return g.broken.get() }
func (g *datagrams) peer() peerInfo           { return g.info }

func (g *datagrams) send(b []byte) error {
	ends, start := g.ends, 0
	defer func() { g.ends = g.ends[:0] }()
	for len(ends) > 0 {
		if err := g.SetWriteDeadline(time.Now().Add(g.limits.write)); err != nil {
			return err
		}
		if g.interrupted.Load() {
			return context.Canceled
		}
		n, err := g.transmit(b[start:], ends)
		if n > 0 {
			g.sent += uint64(n)
			next := ends[n-1]
			for i := range ends[n:] {
				ends[n+i] -= next
			}
			start += next
			ends = ends[n:]
		}
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("nothing could be sent for %v", g.limits.write)
			}
			g.counts.sendErrors.Add(1)
			g.fail()
			return explainDatagram(err)
		}
	}
	return nil
}

func explainDatagram(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("nobody listens there (%w)", unix.ECONNREFUSED)
	}
	return err
}

// acked returns what was sent: nobody answers to a datagram. Only that nobody listens may be known.
func (g *datagrams) acked() (uint64, error) {
	if !g.trust.IsZero() {
		if time.Now().Before(g.trust) {
			return 0, nil
		}
		g.trust = time.Time{}
	}
	return g.sent, nil
}

func (g *datagrams) interrupt() {
	g.interrupted.Store(true)
	_ = g.SetDeadline(past)
}

// whileBlocked does nothing: a datagram that was sent is acknowledged.
func (g *datagrams) whileBlocked(func() error) {}

func (g *datagrams) finish() error {
	err := g.Close()
	<-g.broken.done
	return err
}

func (g *datagrams) drop() { _ = g.finish() }
