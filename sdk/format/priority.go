package format

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/sdk/event"
)

// Priority is the PRI of a syslog message: facility × 8 + severity (RFC 5424, 6.2.1).
type Priority uint8

// Names in the order of their numbers, as syslog.conf and logger spell them.
var (
	facilities = []string{
		"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit",
		"alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
	}
	severities = []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}
)

// DefaultPriority returns the priority that Junos devices give to that kind of message. They have no loss records, which
// have the priority user.error.
func DefaultPriority(k event.Kind) Priority {
	switch k {
	case event.ScreenDrop:
		return 11 // user.err
	case event.FilterLog:
		return 158 // local3.info
	case event.Loss:
		return 12 // user.warning
	default:
		return 14 // user.info
	}
}

// String returns facility and severity: "user.info".
func (p Priority) String() string {
	if int(p>>3) >= len(facilities) {
		return fmt.Sprintf("%d", uint8(p))
	}
	return facilities[p>>3] + "." + severities[p&7]
}

// UnmarshalText reads "user.info", and "error", "warn", "critical" and "emergency" as the severities that they abbreviate.
func (p *Priority) UnmarshalText(text []byte) error {
	facility, severity, ok := strings.Cut(string(text), ".")
	if !ok {
		return fmt.Errorf(`want facility and severity such as "local4.warning", got %q`, text)
	}
	switch severity {
	case "error":
		severity = "err"
	case "warn":
		severity = "warning"
	case "critical":
		severity = "crit"
	case "emergency":
		severity = "emerg"
	}
	f, s := slices.Index(facilities, facility), slices.Index(severities, severity)
	switch {
	case f < 0:
		return fmt.Errorf("unknown facility %q; known are %s", facility, strings.Join(facilities, ", "))
	case s < 0:
		return fmt.Errorf("unknown severity %q; known are %s", severity, strings.Join(severities, ", "))
	}
	*p = Priority(f<<3 | s)
	return nil
}
