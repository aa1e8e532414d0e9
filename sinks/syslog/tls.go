package syslog

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// tlsFiles reads the files of the table tls, and reads them again when they have changed.
type tlsFiles struct {
	options tlsOptions

	mu    sync.Mutex
	stamp []fileStamp // of the files as they were read
	read  *tls.Config // made of them
}

// fileStamp tells one state of a file from another.
type fileStamp struct {
	size  int64
	mtime time.Time
}

// config returns a configuration for a connection to that host, from the files as they are now.
func (f *tlsFiles) config(host string) (*tls.Config, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	stamp, err := f.look()
	if err != nil {
		return nil, err
	}
	if f.stamp == nil || !same(stamp, f.stamp) {
		read, err := f.options.Config()
		if err != nil {
			return nil, err
		}
		f.read, f.stamp = read, stamp
	}
	c := f.read.Clone()
	c.MinVersion = uint16(f.options.MinVersion)
	if c.ServerName == "" {
		c.ServerName, _, _ = strings.Cut(host, "%") // a certificate names no interface
	}
	own := new(tls.Certificate) // none: the peer decides what to make of that
	if len(c.Certificates) > 0 {
		own = &c.Certificates[0]
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	c.DynamicRecordSizingDisabled = true // a write is one record, whose ciphertext is counted
	return c, nil
}

// look returns the stamps of the files that are configured.
func (f *tlsFiles) look() (stamps []fileStamp, err error) {
	for _, path := range []string{f.options.CA, f.options.Cert, f.options.Key} {
		var s fileStamp
		if path != "" {
			info, err := os.Stat(path)
			if err != nil {
				return nil, err
			}
			s = fileStamp{info.Size(), info.ModTime()}
		}
		stamps = append(stamps, s)
	}
	return stamps, nil
}

func same(a, b []fileStamp) bool {
	for i := range a {
		if a[i].size != b[i].size || !a[i].mtime.Equal(b[i].mtime) {
			return false
		}
	}
	return true
}

// explainDial says what to make of a connection that was not made.
func explainDial(ctx context.Context, err error, within time.Duration) error {
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", within)
	}
	var op *net.OpError
	if !errors.As(err, &op) || op.Err == nil {
		return err
	}
	if name := absentZone(op.Addr); name != "" {
		return fmt.Errorf("there is no interface %s: %w", name, op.Err)
	}
	return op.Err // the address is named by who reports it
}

// absentZone returns the interface of a link-local address, if there is none of that name; "" otherwise.
func absentZone(a net.Addr) string {
	if a == nil {
		return ""
	}
	addr, err := netip.ParseAddrPort(a.String())
	if err != nil || addr.Addr().Zone() == "" {
		return ""
	}
	if _, err := net.InterfaceByName(addr.Addr().Zone()); err == nil {
		return ""
	}
	return addr.Addr().Zone()
}

// explainHandshake says what is wrong, and where there is something to do about it, what.
func explainHandshake(ctx context.Context, err error, asked bool, d *tcpDialer) error {
	var (
		unknown  x509.UnknownAuthorityError
		name     x509.HostnameError
		invalid  x509.CertificateInvalidError
		notTLS   tls.RecordHeaderError
		verifier *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no TLS handshake within %v: the peer accepts connections and does not finish it", d.limits.connect)
	case errors.As(err, &name):
		names := append([]string(nil), name.Certificate.DNSNames...)
		for _, ip := range name.Certificate.IPAddresses {
			names = append(names, ip.String())
		}
		is := "no name at all"
		if len(names) > 0 {
			is = strings.Join(names, ", ")
		}
		return fmt.Errorf("the peer's certificate is for %s and not for %s: correct the address, or set tls.server_name", is, name.Host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the peer's certificate is not valid now (%s to %s): renew it, or set the clock",
			invalid.Cert.NotBefore.UTC().Format(time.RFC3339), invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
	case errors.As(err, &unknown), errors.As(err, &verifier):
		fix := "set tls.ca to the CA that has issued it"
		if d.tls.options.CA != "" {
			fix = d.tls.options.CA + " does not hold the CA that has issued it: correct tls.ca"
		}
		return fmt.Errorf("the peer's certificate is not trusted (%w): %s", err, fix)
	case errors.As(err, &notTLS):
		return errors.New("the peer does not speak TLS on this port")
	}
	if asked && d.tls.options.Cert == "" {
		return fmt.Errorf("%w; the peer asks for a certificate: set tls.cert and tls.key", explainAlert(err))
	}
	return explainAlert(err)
}

// explainAlert says what the peer means when it ends a connection by an alert about our certificate. In TLS 1.3 that comes
// after the handshake. The library has no type for it but the text that it gives to the alerts of RFC 8446, 6.2.
func explainAlert(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return err
	}
	switch op.Err.Error() {
	case "tls: certificate required":
		return fmt.Errorf("the peer demands a certificate (%w): set tls.cert and tls.key", op.Err)
	case "tls: bad certificate", "tls: unsupported certificate", "tls: revoked certificate", "tls: expired certificate",
		"tls: unknown certificate", "tls: unknown certificate authority":
		return fmt.Errorf("the peer refuses our certificate (%w): correct tls.cert and tls.key, or the CA that the peer knows", op.Err)
	}
	return err
}
