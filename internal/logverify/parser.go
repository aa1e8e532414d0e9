package logverify

import (
	"regexp"
	"strconv"

	syslog "github.com/influxdata/go-syslog/v3"
	"github.com/influxdata/go-syslog/v3/rfc5424"
)

// parser is the parser of RFC 5424 that messages are held against. Nothing else here knows which one that is.
type parser struct{ machine syslog.Machine }

func newParser() parser { return parser{rfc5424.NewParser()} }

// inColumn is how the library says where a message is wrong.
var inColumn = regexp.MustCompile(`^(.*) \[col ([0-9]+)\]$`)

// parse returns the PRI of a message, or what is wrong with it and where.
func (p parser) parse(msg []byte) (pri int, wrong string, at int) {
	m, err := p.machine.Parse(msg)
	if err == nil {
		return int(*m.(*rfc5424.SyslogMessage).Priority), "", 0
	}
	wrong = err.Error()
	if m := inColumn.FindStringSubmatch(wrong); m != nil {
		wrong = m[1]
		at, _ = strconv.Atoi(m[2]) // digits, and few of them
	}
	return 0, wrong, at
}
