package format

import (
	"strconv"
	"strings"
	"sync/atomic"

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

// head is a message up to its first value, with a timestamp in the middle to be written over.
type head struct {
	line string // up to where structured data, or the first word, stands
	time int    // where the timestamp stands in it
	text string // of a message without structured data: behind it, up to the first value
}

// syslogEncoder makes lines of RFC 5424. Everything between the timestamp and the first value of a message is put together
// once.
type syslogEncoder struct {
	*profile
	create, deny     head                  // up to the source address
	close            [numCloseReasons]head // the same, by reason
	screens          [numScreenTags]head   // up to the SD-ID
	filter, loss     head
	structuredFilter bool
	sequence         string        // `[ID epoch="N" sequence="`, "" for none
	text             *plainEncoder // of the text behind structured data, nil for none
	nameless         event.Names
	phrases          atomic.Pointer[phrases] // of the names that were used last
}

func newRFC5424(o Options, p *profile) (Encoder, error) {
	id, err := sdID(o)
	if err != nil {
		return nil, err
	}
	host, err := hostname(o)
	if err != nil {
		return nil, err
	}
	build := func(k event.Kind, program, tag, sd string) head {
		return newHead(o.pri(k)+"1 ", host, program, tag, sd)
	}
	e := &syslogEncoder{
		profile:          p,
		create:           build(event.SessionOpen, programFlow, tagCreate, "["+id+firstSource),
		deny:             build(event.PolicyDeny, programFlow, tagDeny, "["+id+firstSource),
		filter:           build(event.FilterLog, "-", "-", ""),
		loss:             build(event.Loss, programOurs, tagLoss, ""),
		structuredFilter: o.StructuredFilter,
		sequence:         sequenceElement(o),
	}
	if o.Text {
		e.text = &plainEncoder{profile: p}
	}
	if o.StructuredFilter {
		e.filter = build(event.FilterLog, "-", tagFilter, "["+id)
	}
	e.filter.text, e.loss.text = filterText, lossText
	for c := range e.close {
		e.close[c] = build(event.SessionClose, programFlow, tagClose, "["+id+` reason="`+p.closeReason(event.CloseReason(c))+`"`+firstSource)
	}
	for t := range e.screens {
		e.screens[t] = build(event.ScreenDrop, programScreen, screenTag(t).String(), "["+id)
	}
	return e, nil
}

// newHead returns the head of a message of RFC 5424; sd is its structured data up to the first value.
func newHead(pri, host, program, tag, sd string) head {
	return head{line: pri + timeLayout + " " + host + " " + program + " - " + tag + " " + sd, time: len(pri)}
}

// What stands before the values in the texts of messages without structured data.
const (
	filterText = "fpc0 " + tagFilter + ": FW: "
	lossText   = "events lost: reason="
	textCreate = "session created "
	textClose  = "session closed "
	textDeny   = "session denied "
)

func (o *Options) pri(k event.Kind) string {
	p, ok := o.Priorities[k]
	if !ok {
		p = DefaultPriority(k)
	}
	return "<" + strconv.Itoa(int(p)) + ">"
}

// sdID returns the SD-ID of the lines.
func sdID(o Options) (string, error) {
	if o.SDID == "" {
		platform := o.Platform
		if platform == 0 {
			platform = DefaultPlatform
		}
		return "junos@2636.1.1.1.2." + strconv.FormatUint(uint64(platform), 10), nil
	}
	// RFC 5424, 6.3.2 and the grammar's SD-NAME.
	bad := func(c rune) bool { return c <= ' ' || c > '~' || c == '=' || c == ']' || c == '"' }
	if len(o.SDID) > 32 || strings.ContainsFunc(o.SDID, bad) || o.SDID == SequenceID {
		return "", &OptionError{"sd_id", strconv.Quote(o.SDID) +
			` cannot be an SD-ID: want at most 32 printable ASCII characters without '=', ']', '"' and blanks`}
	}
	return o.SDID, nil
}

func sequenceElement(o Options) string {
	if !o.Sequence {
		return ""
	}
	return "[" + SequenceID + ` epoch="` + strconv.FormatUint(o.Epoch, 10) + `" sequence="`
}

func (e *syslogEncoder) Terminator() string { return "\n" }

func (e *syslogEncoder) Append(b []byte, r *event.Record, n *event.Names) []byte {
	if n == nil {
		n = &e.nameless
	}
	t := e.phrases.Load()
	if t == nil || t.names != n {
		t = &phrases{profile: e.profile, names: n}
		e.phrases.Store(t)
	}
	switch r.Kind() {
	case event.SessionOpen:
		b = e.appendCreate(b, r, t)
	case event.SessionClose:
		b = e.appendClose(b, r, t)
	case event.PolicyDeny:
		b = e.appendDeny(b, r, t)
	case event.ScreenDrop:
		b = e.appendScreen(b, r, n)
	case event.FilterLog:
		if !e.structuredFilter {
			return appendFilter(e.appendText(b, &e.filter, r), r, n)
		}
		b = e.appendStructuredFilter(b, r, n)
	default:
		return appendLoss(e.appendText(b, &e.loss, r), r, n)
	}
	if e.sequence != "" {
		b = appendSequence(b, e.sequence, r)
	}
	if e.text != nil {
		b = e.appendBehind(b, r, n)
	}
	return b
}

// appendBehind appends the text behind structured data, which Junos prints unless brief is set: that of the plain form.
func (e *syslogEncoder) appendBehind(b []byte, r *event.Record, n *event.Names) []byte {
	switch r.Kind() {
	case event.SessionOpen:
		return e.text.appendCreate(append(b, " "+textCreate...), r, n)
	case event.SessionClose:
		return e.text.appendClose(append(b, " "+textClose...), r, n)
	case event.PolicyDeny:
		return e.text.appendDeny(append(b, " "+textDeny...), r, n)
	case event.ScreenDrop:
		return e.text.appendScreen(append(b, ' '), r, n)
	default:
		return appendFilter(append(b, " "+filterText...), r, n)
	}
}

// appendText appends a message without values in structured data up to the first value of its text.
func (e *syslogEncoder) appendText(b []byte, h *head, r *event.Record) []byte {
	b = appendHeader(b, h, r.Time())
	return append(appendOnlySequence(b, e.sequence, r), h.text...)
}

// appendOnlySequence appends structured data that is the sequence element or nothing, and the blank behind it.
func appendOnlySequence(b []byte, element string, r *event.Record) []byte {
	if element == "" {
		return append(b, "- "...)
	}
	return append(appendSequence(b, element, r), ' ')
}

func appendSequence(b []byte, element string, r *event.Record) []byte {
	b = append(b, element...)
	b = appendUint(b, uint64(r.Seq()))
	return append(b, `"]`...)
}

// appendHeader appends a head of RFC 5424 with that time.
func appendHeader(b []byte, h *head, ns int64) []byte {
	if ns == 0 {
		b = append(b, h.line[:h.time]...)
		b = append(b, '-')
		return append(b, h.line[h.time+timeSize:]...)
	}
	start := len(b)
	b = append(b, h.line...)
	putTime((*[timeSize]byte)(b[start+h.time:]), ns)
	return b
}

// appendTimeOr appends a time, or unknown for time 0.
func appendTimeOr(b []byte, ns int64, unknown string) []byte {
	if ns == 0 {
		return append(b, unknown...)
	}
	return appendTime(b, ns)
}
