package syslog

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// limits are the times that a connection is held to.
type limits struct {
	connect, write, close  time.Duration
	keepalive, userTimeout time.Duration
}

// keepaliveProbes is how many keepalives may stay unanswered.
const keepaliveProbes = 3

// tcpDialer opens connections for the transports over TCP.
type tcpDialer struct {
	address address
	limits  limits
	tls     *tlsFiles // nil for none
}

// opened is a TCP connection, with TLS if that was asked for.
type opened struct {
	*counted
	rw    net.Conn  // what to read from and write to: the connection itself, or TLS on top
	tls   *tls.Conn // nil for none
	trust time.Time // when silence of the peer means that it has accepted us
}

// dial connects and shakes hands within limits.connect.
func (d *tcpDialer) dial(ctx context.Context) (*opened, error) {
	ctx, cancel := context.WithTimeout(ctx, d.limits.connect)
	defer cancel()
	nd := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: d.limits.keepalive > 0, Idle: d.limits.keepalive, Interval: d.limits.keepalive / keepaliveProbes,
			Count: keepaliveProbes,
		},
		KeepAlive: -1, // as KeepAliveConfig says
		Control:   d.setUserTimeout,
	}
	c, err := nd.DialContext(ctx, "tcp", d.address.target)
	if err != nil {
		return nil, explainDial(ctx, err, d.limits.connect)
	}
	k, err := newCounted(c.(*net.TCPConn), d.limits.write)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	o := &opened{counted: k, rw: k}
	if d.tls == nil {
		return o, nil
	}
	if err := d.shakeHands(ctx, o); err != nil {
		k.abort()
		return nil, err
	}
	return o, nil
}

// setUserTimeout makes the kernel give up a peer that acknowledges nothing, or takes nothing, for that long (tcp(7)).
func (d *tcpDialer) setUserTimeout(_, _ string, c syscall.RawConn) error {
	var setErr error
	err := c.Control(func(fd uintptr) {
		setErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.limits.userTimeout.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return setErr
}

// trustAfter is how long a peer that has closed the last connection at once must keep this one, until what its kernel
// acknowledges is believed. It is also how long a peer of TLS 1.3 that has asked for our certificate may take to refuse it:
// the handshake is over for us before it has looked, and what we send meanwhile its kernel acknowledges.
const trustAfter = time.Second

func (d *tcpDialer) shakeHands(ctx context.Context, o *opened) error {
	config, err := d.tls.config(d.address.host)
	if err != nil {
		return err
	}
	asked := false
	certificate := config.GetClientCertificate
	config.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		return certificate(info)
	}
	begin := time.Now()
	o.tls = tls.Client(o.counted, config)
	if err := o.tls.HandshakeContext(ctx); err != nil {
		return explainHandshake(ctx, err, asked, d)
	}
	o.rw = o.tls
	if asked && o.tls.ConnectionState().Version >= tls.VersionTLS13 {
		now := time.Now()
		o.trust = now.Add(max(trustAfter, 4*now.Sub(begin)))
	}
	return nil
}

func (o *opened) info() peerInfo {
	p := peerInfo{remote: o.RemoteAddr().String()}
	if o.tls != nil {
		st := o.tls.ConnectionState()
		p.tls = tls.VersionName(st.Version) + " " + tls.CipherSuiteName(st.CipherSuite)
	}
	return p
}

// close closes an orderly connection, after a farewell of TLS, within a time.
func (o *opened) close(within time.Duration) error {
	t := time.AfterFunc(within, func() { _ = o.counted.Close() })
	defer t.Stop()
	if err := o.rw.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// writePieces writes b in pieces. After each it calls wrote with the number of bytes written.
func (o *opened) writePieces(b []byte, size int, wrote func(n int)) error {
	for len(b) > 0 {
		o.mu.Unlock()
		n, err := o.rw.Write(b[:min(size, len(b))])
		o.mu.Lock()
		wrote(n)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
