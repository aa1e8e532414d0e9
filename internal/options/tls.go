package options

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// TLS is the table `tls` of a sink that connects to a server. A sink holds a pointer to it: a table that is there, even an
// empty one, asks for TLS. [Checker.TLS] checks it.
type TLS struct {
	CA         string `toml:"ca"`          // PEM file of the authorities to trust; "" is the system's
	Cert       string `toml:"cert"`        // PEM file of the client's certificate, for a server that asks for one
	Key        string `toml:"key"`         // PEM file of its key
	ServerName string `toml:"server_name"` // expected in the server's certificate; "" is the name that is dialled
}

// FileError is a file of the table that cannot be used.
type FileError struct {
	Key string // "ca", "cert" or "key"
	Err error
}

func (e *FileError) Error() string { return "tls." + e.Key + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *FileError) Unwrap() error { return e.Err }

// Config reads the files and returns the configuration of a client, TLS 1.2 or newer, that verifies its server. Its errors are of
// the type *[FileError].
func (o *TLS) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.ServerName}
	if o.CA != "" {
		text, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, &FileError{"ca", err}
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, &FileError{"ca", fmt.Errorf("%s holds no certificate in PEM", o.CA)}
		}
	}
	if o.Cert != "" {
		cert, err := os.ReadFile(o.Cert)
		if err != nil {
			return nil, &FileError{"cert", err}
		}
		key, err := os.ReadFile(o.Key)
		if err != nil {
			return nil, &FileError{"key", err}
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, &FileError{"cert", fmt.Errorf("%s and %s are no pair: %w", o.Cert, o.Key, err)}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
