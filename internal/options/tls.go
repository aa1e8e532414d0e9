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
	Cert       string `toml:"cert"`        // PEM file of our certificate, for a server that asks for one
	Key        string `toml:"key"`         // PEM file of its key
	ServerName string `toml:"server_name"` // expected in the server's certificate; "" is the name that is dialled
}

// Config reads the files and returns the configuration of a client, TLS 1.2 or newer, that verifies its server.
func (o *TLS) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.ServerName}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: %s holds no certificate in PEM", o.CA)
		}
	}
	if o.Cert != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
