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

// head is a message up to its first value, but for the timestamp in the middle.
type head struct {
	pri  string // "<14>1 ", or "<14>"
	rest string // from behind the timestamp up to where structured data, or the first word, stands
	text string // of a message without structured data: behind it, up to the first value
}

// syslogEncoder makes lines of RFC 5424. Everything between the timestamp and the first value of a message is put together
// once.
type syslogEncoder struct {
	*profile
	create, close, deny head                // " HOST RT_FLOW - TAG [SD-ID", and the name of the first parameter
	screens             [numScreenTags]head // " HOST RT_IDS - TAG [SD-ID"
	filter, loss        head
	structuredFilter    bool
	sequence            string        // `[ID epoch="N" sequence="`, "" for none
	text                *plainEncoder // of the text behind structured data, nil for none
	nameless            event.Names
	phrases             atomic.Pointer[phraseTable]
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
		return head{pri: o.pri(k) + "1 ", rest: " " + host + " " + program + " - " + tag + " " + sd}
	}
	e := &syslogEncoder{
		profile:          p,
		create:           build(event.SessionOpen, programFlow, tagCreate, "["+id+firstSource),
		close:            build(event.SessionClose, programFlow, tagClose, "["+id+` reason="`),
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
	for t := range e.screens {
		e.screens[t] = build(event.ScreenDrop, programScreen, screenTag(t).String(), "["+id)
	}
	return e, nil
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
	switch r.Kind() {
	case event.SessionOpen:
		b = e.appendCreate(b, r, n)
	case event.SessionClose:
		b = e.appendClose(b, r, n)
	case event.PolicyDeny:
		b = e.appendDeny(b, r, n)
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

// appendHeader appends PRI, VERSION and TIMESTAMP, then the rest of the header.
func appendHeader(b []byte, h *head, ns int64) []byte {
	b = append(b, h.pri...)
	b = appendTimeOr(b, ns, "-")
	return append(b, h.rest...)
}

// appendTimeOr appends a time, or unknown for time 0.
func appendTimeOr(b []byte, ns int64, unknown string) []byte {
	if ns == 0 {
		return append(b, unknown...)
	}
	return appendTime(b, ns)
}
