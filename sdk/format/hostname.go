package format

import (
	"strconv"

	"github.com/rtflow/pipelined/internal/rfc5424"
)

func hostname(o Options) (string, error) {
	host := o.Hostname
	if host == "" {
		host = "-"
	}
	if !rfc5424.ValidHostname(host) {
		return "", &OptionError{"hostname", strconv.Quote(o.Hostname) +
			" cannot stand in a syslog header: want at most 255 printable ASCII characters without a blank"}
	}
	return host, nil
}
