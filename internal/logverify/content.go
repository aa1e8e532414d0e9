package logverify

import (
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
)

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
		problem := valueProblem(tag, p.name, p.value)
		if problem == "" {
			problem = releaseProblem(profile, p.name, p.value)
		}
		if problem != "" {
			c.report(p.valueAt, "%s %q %s", p.name, p.value, problem)
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

var lossText = regexp.MustCompile(`^events lost: reason=(rate_limited|over_budget|disconnected|evicted|abandoned|unread|restart|damaged|unknown)( zone=[^ ]+)? since=([^ ]+)( (session-open|session-close|policy-deny|screen-drop|filter-log|packets)=[1-9][0-9]*)*$`)

var lossCount = regexp.MustCompile(` (session-open|session-close|policy-deny|screen-drop|filter-log)=([0-9]+)`)

// checkLoss checks the text of a loss record and counts what it says is lost.
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

// checkJSON checks that the text is a JSON object with the fields that every reader of ECS needs.
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
