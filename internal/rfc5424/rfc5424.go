// Package rfc5424 reads and checks syslog messages with the library go-syslog: strictly, as RFC 5424 has them.
//
// It is the only package that imports the library, whose successor is github.com/leodido/go-syslog/v4.
package rfc5424

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/influxdata/go-syslog/v3/rfc5424"
)

// Message is a message taken apart.
type Message = rfc5424.SyslogMessage

// SyntaxError says where a message deviates from RFC 5424.
type SyntaxError struct {
	Reason string
	Column int // in bytes from 0; of what is missing, the end of the message
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s in column %d", e.Reason, e.Column) }

// Parser takes messages apart. Not safe for concurrent use.
type Parser struct {
	parse func([]byte) (*Message, error)
}

// NewParser returns a parser.
func NewParser() Parser {
	machine := rfc5424.NewParser()
	return Parser{func(msg []byte) (*Message, error) {
		m, err := machine.Parse(msg)
		if err != nil {
			return nil, err
		}
		return m.(*Message), nil
	}}
}

// inColumn is how the library says where a message is wrong.
var inColumn = regexp.MustCompile(`^(.*) \[col ([0-9]+)\]$`)

// Parse takes a message apart. Its errors are of the type *[SyntaxError].
func (p Parser) Parse(msg []byte) (*Message, error) {
	m, err := p.parse(msg)
	if err == nil {
		return m, nil
	}
	e := &SyntaxError{Reason: err.Error()}
	if found := inColumn.FindStringSubmatch(e.Reason); found != nil {
		e.Reason = found[1]
		e.Column, _ = strconv.Atoi(found[2]) // digits, and few of them
	}
	return nil, e
}

// ValidHostname reports whether a name can stand in a message as HOSTNAME. Safe for concurrent use.
func ValidHostname(host string) bool {
	// Only the setters for structured data of the library share state between goroutines.
	var m Message
	m.SetHostname(host)
	return host == "-" || m.Hostname != nil && *m.Hostname == host
}
