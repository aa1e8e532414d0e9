package format

import (
	"strconv"

	"github.com/influxdata/go-syslog/v3/rfc5424"

	"github.com/rtflow/pipelined/sdk/event"
)

// Message tags, and the programs they come from.
const (
	tagCreate     = "RT_FLOW_SESSION_CREATE"
	tagClose      = "RT_FLOW_SESSION_CLOSE"
	tagDeny       = "RT_FLOW_SESSION_DENY"
	tagFilter     = "PFE_FW_SYSLOG_IP"
	tagLoss       = "LOSS"
	programFlow   = "RT_FLOW"
	programScreen = "RT_IDS"
	programOurs   = "pipelined"
)

// PRI = facility × 8 + severity (RFC 5424, 6.2.1), as Junos devices send them.
const (
	priFlow   = "<14>1 "  // user, info
	priScreen = "<11>1 "  // user, error
	priFilter = "<158>1 " // local3, info
	priLoss   = "<12>1 "  // user, warning; ours
)

// syslogEncoder makes lines of RFC 5424. Everything between the timestamp and the first value of a message is put together
// once.
type syslogEncoder struct {
	*profile
	create, close, deny string                // " HOST RT_FLOW - TAG [SD-ID"
	screens             [numScreenTags]string // " HOST RT_IDS - TAG [SD-ID"
	filter, loss        string                // to the first word of MSG
	nameless            event.Names
}

func newRFC5424(o Options, p *profile) (Encoder, error) {
	platform := o.Platform
	if platform == 0 {
		platform = DefaultPlatform
	}
	host, id := o.Hostname, "junos@2636.1.1.1.2."+strconv.FormatUint(uint64(platform), 10)
	if host == "" {
		host = "-"
	}
	if !validHostname(host) {
		return nil, &OptionError{"hostname", strconv.Quote(o.Hostname) +
			" cannot stand in a syslog header: want at most 255 printable ASCII characters without a blank"}
	}
	head := func(program, tag string) string { return " " + host + " " + program + " - " + tag + " [" + id }
	e := &syslogEncoder{
		profile: p,
		create:  head(programFlow, tagCreate),
		close:   head(programFlow, tagClose),
		deny:    head(programFlow, tagDeny),
		filter:  " " + host + " - - - - fpc0 " + tagFilter + ": FW: ",
		loss:    " " + host + " " + programOurs + " - " + tagLoss + " - events lost: reason=",
	}
	for t := range e.screens {
		e.screens[t] = head(programScreen, screenTag(t).String())
	}
	return e, nil
}

// validHostname asks the syslog library, whose parser is also what our tests hold the lines against. Only the setters for
// structured data of its builder share state between goroutines; this one does not.
func validHostname(host string) bool {
	m := &rfc5424.SyslogMessage{}
	m.SetHostname(host)
	return host == "-" || m.Hostname != nil && *m.Hostname == host
}

func (e *syslogEncoder) Terminator() string { return "\n" }

func (e *syslogEncoder) Append(b []byte, r *event.Record, n *event.Names) []byte {
	if n == nil {
		n = &e.nameless
	}
	switch r.Kind() {
	case event.SessionOpen:
		return e.appendCreate(b, r, n)
	case event.SessionClose:
		return e.appendClose(b, r, n)
	case event.PolicyDeny:
		return e.appendDeny(b, r, n)
	case event.ScreenDrop:
		return e.appendScreen(b, r, n)
	case event.FilterLog:
		return e.appendFilter(b, r, n)
	default:
		return e.appendLoss(b, r, n)
	}
}

// appendHeader appends PRI, VERSION and TIMESTAMP, then the rest of the header.
func appendHeader(b []byte, pri string, ns int64, rest string) []byte {
	b = append(b, pri...)
	b = appendTimeOr(b, ns, "-")
	return append(b, rest...)
}

// appendTimeOr appends a time, or unknown for time 0.
func appendTimeOr(b []byte, ns int64, unknown string) []byte {
	if ns == 0 {
		return append(b, unknown...)
	}
	return appendTime(b, ns)
}
