package syslog

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/testcert"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// peerFunc is what a peer does with a connection.
type peerFunc func(c net.Conn)

// listenFunc starts a peer that does something with each connection, and returns its host:port.
func listenFunc(tb testing.TB, do peerFunc) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			all.Go(func() { do(c); _ = c.Close() })
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr().String()
}

// silent accepts a connection and says nothing.
func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// halfway answers the beginning of a handshake and stops in the middle of its answer.
func halfway(config *tls.Config) peerFunc {
	return func(c net.Conn) {
		_ = tls.Server(&shortWriter{Conn: c, left: 300}, config).Handshake()
		silent(c)
	}
}

// shortWriter swallows everything behind its first bytes.
type shortWriter struct {
	net.Conn
	left int
}

func (w *shortWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.left -= n
	if _, err := w.Conn.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// TestTLSFaults pins what the state of the sink says when TLS does not work, that it says so in time, and that nothing is
// acknowledged.
func TestTLSFaults(t *testing.T) {
	ours, other := testcert.NewAuthority(t), testcert.NewAuthority(t)
	handshake := func(config *tls.Config) peerFunc {
		return func(c net.Conn) { silent(tls.Server(c, config)) }
	}
	demanding := func(version uint16) *tls.Config {
		config := ours.Server(t, "127.0.0.1")
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, ours.Pool
		config.MinVersion, config.MaxVersion = version, version
		return config
	}
	cert, key := ours.Issue(t, "fw1")
	strangeCert, strangeKey := other.Issue(t, "fw1")
	expiredCert, expiredKey := ours.IssueUntil(t, "fw1", time.Now().Add(-time.Hour))
	client := func(cert, key string) string { return fmt.Sprintf(", cert = %q, key = %q", cert, key) }

	for _, c := range []struct {
		name string
		peer peerFunc
		more string   // in the table tls, behind ca
		want []string // in the error, none if it works
	}{
		{"works", handshake(ours.Server(t, "127.0.0.1")), "", nil},
		{"works with a client certificate, TLS 1.2", handshake(demanding(tls.VersionTLS12)), client(cert, key), nil},
		{"works with a client certificate, TLS 1.3", handshake(demanding(tls.VersionTLS13)), client(cert, key), nil},
		{"works with another name", handshake(ours.Server(t, "siem.example.net")), `, server_name = "siem.example.net"`, nil},
		{"wrong CA", handshake(other.Server(t, "127.0.0.1")), "", []string{"not trusted", "correct tls.ca"}},
		{"wrong name", handshake(ours.Server(t, "other.example.net")), "", []string{"is for other.example.net and not for 127.0.0.1", "tls.server_name"}},
		{"expired", handshake(ours.ServerUntil(t, "127.0.0.1", time.Now().Add(-time.Hour))), "", []string{"not valid now", "renew it"}},
		{"no client certificate, TLS 1.2", handshake(demanding(tls.VersionTLS12)), "", []string{"set tls.cert and tls.key"}},
		{"no client certificate, TLS 1.3", handshake(demanding(tls.VersionTLS13)), "", []string{"demands a certificate", "set tls.cert and tls.key"}},
		{"client certificate of another CA, TLS 1.2", handshake(demanding(tls.VersionTLS12)), client(strangeCert, strangeKey),
			[]string{"refuses our certificate", "correct tls.cert"}},
		{"client certificate of another CA, TLS 1.3", handshake(demanding(tls.VersionTLS13)), client(strangeCert, strangeKey),
			[]string{"refuses our certificate", "correct tls.cert"}},
		{"expired client certificate, TLS 1.3", handshake(demanding(tls.VersionTLS13)), client(expiredCert, expiredKey), []string{"refuses our certificate"}},
		{"too old", handshake(demanding(tls.VersionTLS12)), client(cert, key) + `, min_version = "1.3"`, []string{"protocol version"}},
		{"silent", silent, "", []string{"no TLS handshake within 300ms"}},
		{"stops in the middle", halfway(ours.Server(t, "127.0.0.1")), "", []string{"no TLS handshake within 300ms"}},
		{"not TLS", func(c net.Conn) { _, _ = io.WriteString(c, "220 ready\r\n"); silent(c) }, "", []string{"does not speak TLS"}},
		{"closes", func(net.Conn) {}, "", []string{"EOF", "reset"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			where := listenFunc(t, c.peer)
			text := fmt.Sprintf("tls = { ca = %q%s }", ours.File, c.more)
			if c.want != nil && strings.Contains(c.want[0], "300ms") { // the others have time on a busy machine
				text += "\nconnect_timeout = \"300ms\""
			}
			sink := newTestSink(t, text, "tls://"+where)
			s := sinktest.NewStream(t)
			s.Append(numbered(10)...)
			s.Drain()
			err := s.Run(t.Context(), sink)
			if c.want == nil {
				if err != nil || s.Acked() != 10 {
					t.Errorf("%v, acknowledged up to %d", err, s.Acked())
				}
				return
			}
			if err == nil || s.Acked() != 0 {
				t.Fatalf("%v, acknowledged up to %d", err, s.Acked())
			}
			shown := sink.Status().(Status).Addresses[0]
			if shown.State != Down || shown.Error != err.Error() {
				t.Errorf("state %+v, error %v", shown, err)
			}
			if c.name == "closes" { // either may be seen first
				return
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
}

// TestTLSReload replaces the files of a sink whose certificate is refused: the next attempt uses the new ones.
func TestTLSReload(t *testing.T) {
	ours, other := testcert.NewAuthority(t), testcert.NewAuthority(t)
	config := ours.Server(t, "127.0.0.1")
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, ours.Pool
	c := listen(t, "tls", "", config)
	cert, key := other.Issue(t, "fw1")
	ca := other.File
	sink := newTestSink(t, fmt.Sprintf("tls = { ca = %q, cert = %q, key = %q }", ca, cert, key), c.address)
	s := sinktest.NewStream(t)
	s.Append(numbered(10)...)
	r := keepRunning(t, s, sink)
	replace := func(what, from, to string) {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to+".new", data, 0o600)
		}
		if err = errors.Join(err, os.Rename(to+".new", to)); err != nil {
			t.Fatal(what, err)
		}
	}
	await.Until(t, "the CA is wrong", func() bool { return strings.Contains(r.errors(), "correct tls.ca") })
	replace("ca", ours.File, ca)
	await.Until(t, "the certificate is wrong", func() bool { return strings.Contains(r.errors(), "refuses our certificate") })
	goodCert, goodKey := ours.Issue(t, "fw1")
	replace("cert", goodCert, cert)
	await.Until(t, "certificate and key are no pair", func() bool { return strings.Contains(r.errors(), "are no pair") })
	replace("key", goodKey, key)
	waitAcked(t, s, 10)
	c.expect(want(t, format.Options{}, 1, numbered(10)...))
}

// TestTLSFilesRestored replaces a file by one that cannot be read as certificates, and puts back the old one with its old
// modification time, as a restored backup has it.
func TestTLSFilesRestored(t *testing.T) {
	f := tlsFiles{options: tlsOptions{MinVersion: tls12}}
	f.options.CA = testcert.NewAuthority(t).File
	good, err := os.ReadFile(f.options.CA)
	if err != nil {
		t.Fatal(err)
	}
	written := time.Now().Add(-time.Hour)
	put := func(text []byte, mtime time.Time) {
		if err := os.WriteFile(f.options.CA, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(f.options.CA, mtime, mtime); err != nil {
			t.Fatal(err)
		}
	}
	put(good, written)
	if _, err := f.config("siem"); err != nil {
		t.Fatal(err)
	}
	put([]byte("none"), written.Add(time.Minute))
	if c, err := f.config("siem"); err == nil || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("%v, %v", c, err)
	}
	put(good, written)
	if c, err := f.config("siem"); err != nil || c.RootCAs == nil {
		t.Errorf("%v, %v", c, err)
	}
}

// TestTLSCiphertext pins that records are acknowledged by the ciphertext that the peer's kernel has: a peer that does not read
// takes what fits its buffer, and only whole TLS records count.
func TestTLSCiphertext(t *testing.T) {
	ca := testcert.NewAuthority(t)
	goOn := make(chan struct{})
	read := make(chan int64, 1)
	config := ca.Server(t, "127.0.0.1")
	where := listenFunc(t, func(c net.Conn) {
		_ = c.(*net.TCPConn).SetReadBuffer(32 << 10)
		peer := tls.Server(c, config)
		if err := peer.Handshake(); err != nil {
			t.Error(err)
		}
		<-goOn
		n, _ := io.Copy(io.Discard, peer)
		read <- n
	})
	sink := newTestSink(t, fmt.Sprintf("tls = { ca = %q }", ca.File), "tls://"+where)
	const n = 20_000
	records := numbered(n)
	size := 0
	ends := []int{0}
	for _, m := range want(t, format.Options{}, 1, records...) {
		size += len(fmt.Sprintf("%d %s", len(m), m))
		ends = append(ends, size)
	}
	s := sinktest.NewStream(t)
	s.Append(records...)
	s.Drain()
	done := make(chan error)
	go func() { done <- s.Run(t.Context(), sink) }()
	waitAcked(t, s, 1)
	// The peer's window closes. What is acknowledged then stays below what was sent.
	last, still := s.Acked(), 0
	await.Until(t, "the peer's buffer is full", func() bool {
		if now := s.Acked(); now != last {
			last, still = now, 0
		}
		still++
		return still > 100
	})
	if s.Acked() == n {
		t.Fatal("everything was acknowledged by a peer that has not read")
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := <-read; got != int64(ends[n]) {
		t.Errorf("the peer has read %d bytes, want %d", got, ends[n])
	}
}
