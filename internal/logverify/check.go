package logverify

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/rtflow/pipelined/internal/rfc5424"
)

// Problem is a place where a message deviates.
type Problem struct {
	Column int // byte of the message, from 1
	Text   string
}

func (p Problem) String() string { return fmt.Sprintf("%d: %s", p.Column, p.Text) }

// Options say what a message is checked against. The zero value takes the messages of any release and of real devices, which
// are not all as RFC 5424 wants them.
type Options struct {
	// Profile is one of [Profiles]: every message is exactly as this project prints it. "" is any release: parameters may be
	// others and in another order, times may lack their zone, and the older plain form is taken.
	Profile string
	SDID    string // that messages must have; "": Juniper's, of any platform
	// AnyPriority takes every PRI, where a sink was told to use others than devices do.
	AnyPriority bool
}

// Checker checks messages. It is for one goroutine.
type Checker struct {
	options Options
	parser  rfc5424.Parser
	counts  map[string]int
	seq     map[string]*sequence
	lost    map[string]uint64 // events that loss records count, by reason

	msg      []byte
	mended   []byte
	inserted []int // places in msg at which it was mended, so that the parser takes it
	problems []Problem
}

// NewChecker returns a checker.
func NewChecker(o Options) *Checker {
	return &Checker{options: o, parser: rfc5424.NewParser(), counts: make(map[string]int), seq: make(map[string]*sequence), lost: make(map[string]uint64)}
}

// maxEpochs is of how many runs of a daemon the sequence numbers are followed.
const maxEpochs = 1000

// sequenceID is the element with which this project's sinks number their messages.
const sequenceID = "pipelined@32473"

var junosID = regexp.MustCompile(`^junos@2636\.1\.1\.1\.2\.[1-9][0-9]*$`)

// Check returns where a message deviates. The slice is valid until the next call.
func (c *Checker) Check(msg []byte) []Problem {
	c.msg, c.problems, c.inserted = msg, c.problems[:0], c.inserted[:0]
	for i, b := range msg {
		if b < ' ' || b == 0x7f {
			c.report(i, "a control character, %#02x", b)
			break
		}
	}
	if c.any() {
		if c.checkPlain() {
			return c.problems
		}
		c.mend()
		msg = c.msg
	}
	m, err := c.parser.Parse(msg)
	if deviation, ok := errors.AsType[*rfc5424.SyntaxError](err); ok {
		c.report(deviation.Column, "not RFC 5424: %s", deviation.Reason)
		return c.problems
	}
	h := headerOf(msg)
	c.checkTime(h)
	c.checkPriority(h, int(*m.Priority))
	elements, text := c.elements(h.structured)
	elements = c.takeSequence(elements)
	c.checkMessage(h, elements, text)
	return c.problems
}

// any reports whether messages of any release are taken.
func (c *Checker) any() bool { return c.options.Profile == "" }

func (c *Checker) report(at int, form string, args ...any) {
	column := at + 1
	for _, place := range c.inserted {
		if place < at {
			column--
		}
	}
	c.problems = append(c.problems, Problem{column, fmt.Sprintf(form, args...)})
}

// header is where the fields of a message begin, and what they are. The parser has seen the message.
type header struct {
	timestamp, program, process, tag    string
	timeAt, programAt, processAt, tagAt int
	structured                          int
}

func headerOf(msg []byte) (h header) {
	at := bytes.IndexByte(msg, ' ') + 1
	next := func() (string, int) {
		begin := at
		end := begin + bytes.IndexByte(msg[begin:], ' ')
		at = end + 1
		return string(msg[begin:end]), begin
	}
	h.timestamp, h.timeAt = next()
	next() // HOSTNAME
	h.program, h.programAt = next()
	h.process, h.processAt = next()
	h.tag, h.tagAt = next()
	h.structured = at
	return h
}

// checkTime wants three digits of fraction, as devices print.
func (c *Checker) checkTime(h header) {
	if h.timestamp == "-" || c.any() { // a time that is not known, as of some losses
		return
	}
	_, fraction, ok := strings.Cut(h.timestamp, ".")
	digits := len(fraction) - len(strings.TrimLeft(fraction, "0123456789"))
	if !ok || digits != 3 {
		c.report(h.timeAt, "a timestamp without milliseconds: %s", h.timestamp)
	}
}

// checkPriority wants the facility and severity that devices give to a tag. Those of JSON depend on its content.
func (c *Checker) checkPriority(h header, got int) {
	if c.options.AnyPriority || c.any() && h.program != "pipelined" {
		return
	}
	if want, ok := priority(h.program, h.tag); ok && got != want {
		c.report(1, "PRI is %d and not %d, as devices give %s", got, want, h.tag)
	}
}

// takeSequence takes the sequence element out and follows the numbers.
func (c *Checker) takeSequence(list []element) []element {
	if len(list) == 0 || list[len(list)-1].id != sequenceID {
		return list
	}
	e := list[len(list)-1]
	list = list[:len(list)-1]
	if len(e.params) != 2 || e.params[0].name != "epoch" || e.params[1].name != "sequence" {
		c.report(e.at, "want epoch and sequence in %s", sequenceID)
		return list
	}
	for _, p := range e.params {
		if _, err := strconv.ParseUint(p.value, 10, 64); err != nil {
			c.report(p.valueAt, "%s %q is no integer of 64 bits", p.name, p.value)
			return list
		}
	}
	n, _ := strconv.ParseUint(e.params[1].value, 10, 64) // it was parsed above
	c.follow(e.params[0].value, n)
	return list
}

func (c *Checker) follow(epoch string, n uint64) {
	s := c.seq[epoch]
	if s == nil {
		if len(c.seq) == maxEpochs {
			return
		}
		s = new(sequence)
		c.seq[epoch] = s
	}
	s.add(n)
}

// checkMessage checks tag, structured data and text.
func (c *Checker) checkMessage(h header, list []element, text int) {
	if h.process != "-" && !c.any() {
		c.report(h.processAt, "PROCID is %s and not -", h.process)
	}
	if text >= 0 && c.msg[text] == '{' {
		c.count("JSON")
		c.checkJSON(text)
		return
	}
	switch {
	case h.program == "-" && h.tag == "-", c.any() && text >= 0 && len(list) == 0 && isFilter(c.msg[text:]):
		c.count("PFE_FW_SYSLOG_IP")
		c.wantNone(list)
		c.checkFilter(text)
		return
	case h.program == "pipelined" && h.tag == "LOSS":
		c.count("LOSS")
		c.wantNone(list)
		c.checkLoss(text)
		return
	}
	if !isDevice(h.tag) && !(c.any() && isJunos(h.program, h.tag)) {
		c.count("other")
		c.report(h.tagAt, "unknown message %s", h.tag)
		return
	}
	c.count(h.tag)
	if want := program(h.tag); h.program != want && isDevice(h.tag) {
		c.report(h.programAt, "APP-NAME is %s and not %s", h.program, want)
	}
	if text >= 0 && !c.any() {
		c.report(text, "text behind the structured data")
	}
	if len(list) != 1 {
		c.report(h.structured, "want one element of structured data, got %d", len(list))
		return
	}
	e := &list[0]
	switch {
	case c.options.SDID != "" && e.id != c.options.SDID:
		c.report(e.at, "SD-ID is %s and not %s", e.id, c.options.SDID)
	case c.options.SDID == "" && !junosID.MatchString(e.id):
		c.report(e.at, "SD-ID %s is not junos@2636.1.1.1.2.N", e.id)
	}
	if c.any() {
		c.checkValues(h.tag, e)
		return
	}
	c.checkParams(h.tag, e)
	c.checkAttack(h.tag, e)
}

func (c *Checker) count(what string) { c.counts[what]++ }

func (c *Checker) wantNone(list []element) {
	for _, e := range list {
		c.report(e.at, "structured data %s in a message of text", e.id)
	}
}
