package logverify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
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
	parser  parser
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
	return &Checker{options: o, parser: newParser(), counts: make(map[string]int), seq: make(map[string]*sequence), lost: make(map[string]uint64)}
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
	pri, wrong, at := c.parser.parse(msg)
	if wrong != "" {
		c.report(at, "not RFC 5424: %s", wrong)
		return c.problems
	}
	h := headerOf(msg)
	c.checkTime(h)
	c.checkPriority(h, pri)
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

// checkParams checks names, order and values.
func (c *Checker) checkParams(tag string, e *element) {
	profile := c.options.Profile
	want := order(tag, profile, e.has)
	for i, p := range e.params {
		if i >= len(want) {
			c.report(p.nameAt, "parameter %s is one too many for %s", p.name, profile)
			break
		}
		name := want[i]
		if name == "SID" {
			name = sessionID(profile)
		}
		if p.name != name {
			c.report(p.nameAt, "parameter %s where %s belongs (%s)", p.name, name, profile)
			break
		}
	}
	if n := len(e.params); n < len(want) {
		c.report(len(c.msg)-1, "%d parameters, want %d (%s)", n, len(want), profile)
	}
	for _, p := range e.params {
		wrong := wrongValue(tag, p.name, p.value)
		if wrong == "" {
			wrong = wrongRelease(profile, p.name, p.value)
		}
		if wrong != "" {
			c.report(p.valueAt, "%s %q %s", p.name, p.value, wrong)
		}
	}
}

// filterWords are the words of a firewall-filter log.
var filterWords = []func(string) bool{
	regexp.MustCompile(`^(node[0-9]+\.)?fpc[0-9]+$`).MatchString,
	func(w string) bool { return w == "PFE_FW_SYSLOG_IP:" },
	func(w string) bool { return w == "FW:" },
	func(w string) bool { return w != "" }, // interface
	func(w string) bool { return w == "A" || w == "D" || w == "R" },
	regexp.MustCompile(`^[a-z0-9]+$`).MatchString, // protocol
	isAddress,
	isAddress,
	func(w string) bool { return isNumber(w, 16) },
	func(w string) bool { return isNumber(w, 16) },
	regexp.MustCompile(`^\([1-9][0-9]*$`).MatchString,
	func(w string) bool { return w == "packets)" },
}

// checkFilter checks the text of a firewall-filter log: words between single blanks.
func (c *Checker) checkFilter(at int) {
	if at < 0 {
		c.report(len(c.msg)-1, "neither structured data nor text")
		return
	}
	text := string(c.msg[at:])
	if c.any() {
		c.checkAnyFilter(at, text)
		return
	}
	fields := strings.Split(text, " ")
	starts := make([]int, len(fields))
	for i, f := range fields {
		starts[i] = at
		at += len(f) + 1
	}
	for i, f := range fields {
		if i >= len(filterWords) {
			c.report(starts[i], "%q is a word too many", f)
			return
		}
		if !filterWords[i](f) {
			c.report(starts[i], "%q in place of word %d of a firewall-filter log", f, i+1)
			return
		}
	}
	if len(fields) < len(filterWords) {
		c.report(len(c.msg)-1, "%d words, a firewall-filter log has %d", len(fields), len(filterWords))
	}
}

var lossText = regexp.MustCompile(`^events lost: reason=(rate_limited|over_budget|disconnected|evicted|abandoned|unknown)( zone=[^ ]+)? since=([^ ]+)( (session-open|session-close|policy-deny|screen-drop|filter-log)=[1-9][0-9]*)*$`)

var lossCount = regexp.MustCompile(` (session-open|session-close|policy-deny|screen-drop|filter-log)=([0-9]+)`)

func (c *Checker) checkLoss(at int) {
	if at < 0 {
		c.report(len(c.msg)-1, "a loss record without text")
		return
	}
	m := lossText.FindStringSubmatch(string(c.msg[at:]))
	if m == nil {
		c.report(at, "not the text of a loss record")
		return
	}
	if _, err := time.Parse(time.RFC3339Nano, m[3]); err != nil && m[3] != "-" {
		c.report(at, "since=%s is no time", m[3])
	}
	for _, count := range lossCount.FindAllSubmatch(c.msg[at:], -1) {
		if n, err := strconv.ParseUint(string(count[2]), 10, 64); err == nil {
			c.lost[m[1]] += n
		}
	}
}

// checkJSON wants an object with the fields that every reader of ECS needs.
func (c *Checker) checkJSON(at int) {
	var o map[string]json.RawMessage
	if err := json.Unmarshal(c.msg[at:], &o); err != nil {
		offset := 0
		if s, ok := errors.AsType[*json.SyntaxError](err); ok {
			offset = max(0, int(s.Offset)-1)
		}
		c.report(at+offset, "not JSON: %v", err)
		return
	}
	event, ok := o["event"]
	switch {
	case !ok:
		c.report(at, "a JSON object without event")
	case len(event) == 0 || event[0] != '{':
		c.report(at, "a JSON object whose event is no object")
	}
}
