package format

import (
	"strconv"

	"github.com/influxdata/go-syslog/v3/rfc5424"
)

func hostname(o Options) (string, error) {
	host := o.Hostname
	if host == "" {
		host = "-"
	}
	if !validHostname(host) {
		return "", &OptionError{"hostname", strconv.Quote(o.Hostname) +
			" cannot stand in a syslog header: want at most 255 printable ASCII characters without a blank"}
	}
	return host, nil
}

// validHostname asks the syslog library, whose parser also checks the messages in the tests. Only the setters for
// structured data of its builder share state between goroutines; this one does not.
func validHostname(host string) bool {
	m := &rfc5424.SyslogMessage{}
	m.SetHostname(host)
	return host == "-" || m.Hostname != nil && *m.Hostname == host
}
