package logverify

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
)

// This file checks the messages of real devices of any release. A message must have a known tag, and valid addresses and
// numbers; which parameters it has and in which order depends on the release.

var (
	// stampAndZone is a TIMESTAMP of RFC 5424, whose zone older devices leave out.
	stampAndZone = regexp.MustCompile(`^<[0-9]{1,3}>1 [0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:\.[0-9]+)?( |Z|[+-])`)
	// plainHeader is that of RFC 3164, with the PRI or, as collectors store it, without.
	plainHeader = regexp.MustCompile(`^(?:<[0-9]{1,3}>)?[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} +[^ ]+ +`)
	plainTag    = regexp.MustCompile(`^([A-Za-z0-9_.-]+)(?:\[[0-9]+\])?: +([A-Z0-9_]+): +`)
	// junosTag is what other messages of a device are called.
	junosTag = regexp.MustCompile(`^(RT_|APPTRACK_|AAMW_|SECINTEL_|WEBFILTER_|IDP_|AV_|ANTISPAM_|CONTENT_)[A-Z0-9_]+$`)
	// endpoints are source and destination of a session in the plain form.
	endpoints = regexp.MustCompile(`^session (?:created|denied|closed [^:]+:) ?([^ /]+)/([0-9]+)->([^ /]+)/([0-9]+) `)
	anyFilter = regexp.MustCompile(`^(?:[^ ]+ +|\(FPC Slot [0-9]+, PIC Slot [0-9]+\) +)?(?:PFE_FW_SYSLOG_IP: +)?FW: +` +
		`[^ ]+ +[ADR] +[a-z0-9-]+ +([^ ]+) +([^ ]+) +([0-9]+) +([0-9]+)(?: +\([1-9][0-9]* packets\))? *$`)
)

// isJunos reports whether a message is one that devices send and this project does not.
func isJunos(program, tag string) bool {
	return strings.HasPrefix(program, "RT_") && junosTag.MatchString(tag)
}

func isFilter(text []byte) bool { return anyFilter.Match(text) }

// mend changes a device's message so that a strict parser accepts it: a time without a zone is UTC, and a backslash that escapes
// nothing is doubled.
func (c *Checker) mend() {
	c.mended = append(c.mended[:0], c.msg...)
	insert := func(at int, b byte) {
		c.mended = append(c.mended, 0)
		copy(c.mended[at+1:], c.mended[at:])
		c.mended[at] = b
		c.inserted = append(c.inserted, at)
	}
	if m := stampAndZone.FindSubmatchIndex(c.mended); m != nil && c.mended[m[2]] == ' ' {
		insert(m[2], 'Z')
	}
	quoted := false
	for i := 0; i < len(c.mended); i++ {
		switch b := c.mended[i]; {
		case b == '"':
			quoted = !quoted
		case b == '\\' && quoted:
			if i+1 == len(c.mended) || bytes.IndexByte([]byte(`"\]`), c.mended[i+1]) < 0 {
				insert(i, '\\')
			}
			i++
		}
	}
	c.msg = c.mended
}

// checkValues checks the values of parameters of any release.
func (c *Checker) checkValues(tag string, e *element) {
	for _, p := range e.params {
		if bits, ok := numbers[p.name]; ok {
			if _, err := strconv.ParseUint(p.value, 10, bits); err != nil {
				c.report(p.valueAt, "%s %q is no integer of %d bits", p.name, p.value, bits)
			}
		} else if strings.HasSuffix(p.name, "-address") && !isAddress(p.value) {
			c.report(p.valueAt, "%s %q is no address", p.name, p.value)
		}
	}
	want := "source-address"
	switch {
	case tag == "RT_SCREEN_TCP_DST_IP", tag == "RT_SCREEN_SESSION_LIMIT" && !e.has("source-address"):
		want = "destination-address"
	case !isDevice(strings.TrimSuffix(tag, "_LS")):
		return
	}
	if !e.has(want) {
		c.report(e.at, "%s without %s", tag, want)
	}
}

// checkAnyFilter checks the text of a firewall-filter log of any release.
func (c *Checker) checkAnyFilter(at int, text string) {
	m := anyFilter.FindStringSubmatchIndex(text)
	if m == nil {
		c.report(at, "not the text of a firewall-filter log")
		return
	}
	for i := range 4 {
		from, to := m[2+2*i], m[3+2*i]
		if word := text[from:to]; i < 2 && !isAddress(word) {
			c.report(at+from, "%q is no address", word)
		} else if i >= 2 && !isNumber(word, 16) {
			c.report(at+from, "%q is no port", word)
		}
	}
}

// checkPlain checks a message of the older plain form, and reports whether it is one.
func (c *Checker) checkPlain() bool {
	at := len(plainHeader.Find(c.msg))
	if at == 0 {
		return false
	}
	rest := string(c.msg[at:])
	m := plainTag.FindStringSubmatch(rest)
	switch {
	case strings.Contains(rest, "FW: "):
		c.count("PFE_FW_SYSLOG_IP")
		c.checkAnyFilter(at, rest)
	case m == nil:
		c.count("other")
		c.report(at, "neither RT_FLOW, RT_IDS nor a firewall-filter log")
	case m[2] == "LOSS":
		c.count("LOSS")
		c.checkLoss(at + len(m[0]))
	case isDevice(m[2]) || isJunos(m[1], m[2]):
		c.count(m[2])
		c.checkPlainText(at+len(m[0]), rest[len(m[0]):])
	default:
		c.count("other")
		c.report(at, "unknown message %s", m[2])
	}
	return true
}

// checkPlainText checks the addresses and ports of a session in the plain form.
func (c *Checker) checkPlainText(at int, text string) {
	if !strings.HasPrefix(text, "session ") {
		return
	}
	m := endpoints.FindStringSubmatchIndex(text)
	if m == nil {
		c.report(at, "a session without source and destination")
		return
	}
	for i := range 4 {
		from, to := m[2+2*i], m[3+2*i]
		if word := text[from:to]; i%2 == 0 && !isAddress(word) {
			c.report(at+from, "%q is no address", word)
		} else if i%2 == 1 && !isNumber(word, 16) {
			c.report(at+from, "%q is no port", word)
		}
	}
}
