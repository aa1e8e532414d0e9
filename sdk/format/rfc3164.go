package format

import (
	"net/netip"

	"github.com/rtflow/pipelined/sdk/event"
)

// plainEncoder makes lines of RFC 3164 as Junos prints them with "format syslog": a header with neither year nor zone, and
// the values as text without names. Values stand between blanks, so a blank in a name becomes '_'.
type plainEncoder struct {
	*profile
	create, close, deny head
	screens             [numScreenTags]head
	filter, loss        head
	nameless            event.Names
}

func newRFC3164(o Options, p *profile) (Encoder, error) {
	host, err := hostname(o)
	if err != nil {
		return nil, err
	}
	build := func(k event.Kind, text string) head {
		pri := o.pri(k)
		return head{line: pri + stampLayout + " " + host + " " + text, time: len(pri)}
	}
	e := &plainEncoder{
		profile: p,
		create:  build(event.SessionOpen, programFlow+": "+tagCreate+": "+textCreate),
		close:   build(event.SessionClose, programFlow+": "+tagClose+": "+textClose),
		deny:    build(event.PolicyDeny, programFlow+": "+tagDeny+": "+textDeny),
		filter:  build(event.FilterLog, filterText),
		loss:    build(event.Loss, programOurs+": "+tagLoss+": "+lossText),
	}
	for t := range e.screens {
		e.screens[t] = build(event.ScreenDrop, programScreen+": "+screenTag(t).String()+": ")
	}
	return e, nil
}

func (e *plainEncoder) Terminator() string { return "\n" }

func (e *plainEncoder) Append(b []byte, r *event.Record, n *event.Names) []byte {
	if n == nil {
		n = &e.nameless
	}
	switch r.Kind() {
	case event.SessionOpen:
		return e.appendCreate(begin(b, &e.create, r), r, n)
	case event.SessionClose:
		return e.appendClose(begin(b, &e.close, r), r, n)
	case event.PolicyDeny:
		return e.appendDeny(begin(b, &e.deny, r), r, n)
	case event.ScreenDrop:
		return e.appendScreen(begin(b, &e.screens[screenOf(r).tag], r), r, n)
	case event.FilterLog:
		return appendFilter(begin(b, &e.filter, r), r, n)
	default:
		return appendLoss(begin(b, &e.loss, r), r, n)
	}
}

// begin appends everything up to the first value. RFC 3164 has no way to say that a time is not known: it is 1970 then.
func begin(b []byte, h *head, r *event.Record) []byte {
	start := len(b)
	b = append(b, h.line...)
	putStamp((*[stampSize]byte)(b[start+h.time:]), r.Time())
	return b
}

func (e *plainEncoder) appendCreate(b []byte, r *event.Record, n *event.Names) []byte {
	b = e.appendFlow(b, r, n)
	b = append(b, plainUser+" "...)
	b = appendWord(b, n.Interface(r.Interface()))
	return append(b, e.plainCreate...)
}

func (e *plainEncoder) appendClose(b []byte, r *event.Record, n *event.Names) []byte {
	b = append(b, e.closeReason(r.CloseReason())...)
	b = append(b, ": "...)
	b = e.appendFlow(b, r, n)
	b = appendVolume(b, r.ClientPackets(), r.ClientBytes())
	b = appendVolume(b, r.ServerPackets(), r.ServerBytes())
	b = append(b, ' ')
	b = appendUint(b, elapsed(r))
	b = append(b, plainAppID+plainUser+" "...)
	b = appendWord(b, n.Interface(r.Interface()))
	return append(b, e.plainClose...)
}

// appendVolume appends " PACKETS(BYTES)".
func appendVolume(b []byte, packets, bytes uint64) []byte {
	b = append(b, ' ')
	b = appendUint(b, packets)
	b = append(b, '(')
	b = appendUint(b, bytes)
	return append(b, ')')
}

// appendFlow appends what CREATE and CLOSE share: both ends, untranslated and translated, up to the session id.
func (e *plainEncoder) appendFlow(b []byte, r *event.Record, n *event.Names) []byte {
	b = appendPair(b, r)
	b = append(b, " 0x0 "...)
	b = appendServiceWord(b, r, n)
	b = append(b, ' ')
	if src, ok := r.NATSrc(); ok {
		b = appendEnd(b, src)
	} else {
		b = appendSource(b, r)
	}
	b = append(b, "->"...)
	if dst, ok := r.NATDst(); ok {
		b = appendEnd(b, dst)
	} else {
		b = appendDestination(b, r)
	}
	b = append(b, " 0x0 N/A N/A N/A N/A "...)
	b = appendUint(b, uint64(r.Proto()))
	b = append(b, ' ')
	b = appendPath(b, r, n)
	b = append(b, ' ')
	return appendUint(b, r.SessionID()&e.sessionMask)
}

func (e *plainEncoder) appendDeny(b []byte, r *event.Record, n *event.Names) []byte {
	b = appendPair(b, r)
	b = append(b, " 0x0 "...)
	b = appendServiceWord(b, r, n)
	b = append(b, ' ')
	b = appendUint(b, uint64(r.Proto()))
	b = append(b, '(')
	b = appendUint(b, uint64(icmpType(r)))
	b = append(b, ") "...)
	b = appendPath(b, r, n)
	b = append(b, plainAppID+plainUser+" "...)
	b = appendWord(b, n.Interface(r.Interface()))
	b = append(b, " No "...)
	b = append(b, denyReason(r.Action())...)
	b = append(b, ' ')
	b = appendUint(b, r.SessionID()&e.sessionMask)
	return append(b, e.plainDeny...)
}

// appendPair appends SOURCE/PORT->DESTINATION/PORT.
func appendPair(b []byte, r *event.Record) []byte {
	b = appendSource(b, r)
	b = append(b, "->"...)
	return appendDestination(b, r)
}

func appendSource(b []byte, r *event.Record) []byte {
	return appendEnd(b, netip.AddrPortFrom(r.Src(), r.SrcPort()))
}

func appendDestination(b []byte, r *event.Record) []byte {
	return appendEnd(b, netip.AddrPortFrom(r.Dst(), r.DstPort()))
}

func appendEnd(b []byte, a netip.AddrPort) []byte {
	b = appendAddr(b, a.Addr())
	b = append(b, '/')
	return appendUint(b, uint64(a.Port()))
}

// appendPath appends policy, zone and zone.
func appendPath(b []byte, r *event.Record, n *event.Names) []byte {
	b = appendWord(b, n.Policy(r.Policy()))
	b = append(b, ' ')
	b = appendWord(b, n.Zone(r.InZone()))
	b = append(b, ' ')
	return appendWord(b, n.Zone(r.OutZone()))
}

func appendServiceWord(b []byte, r *event.Record, n *event.Names) []byte {
	if name := n.Application(r.Application()); name != "" {
		return appendWord(b, name)
	}
	return append(b, noService...)
}

func (e *plainEncoder) appendScreen(b []byte, r *event.Record, n *event.Names) []byte {
	t := screenOf(r)
	b = append(b, e.attackName(t)...)
	ports := t.tag == screenTCP || t.tag == screenUDP
	if t.tag != screenTCPDstIP && r.Screen() != event.ScreenSessionLimitDst {
		b = append(b, " source: "...)
		b = appendAddr(b, r.Src())
		if ports {
			b = append(b, ':')
			b = appendUint(b, uint64(r.SrcPort()))
		}
		b = append(b, ',')
	}
	if t.tag != screenTCPSrcIP && r.Screen() != event.ScreenSessionLimitSrc {
		b = append(b, " destination: "...)
		b = appendAddr(b, r.Dst())
		if ports {
			b = append(b, ':')
			b = appendUint(b, uint64(r.DstPort()))
		}
		b = append(b, ',')
	}
	if t.tag == screenIP {
		b = append(b, " protocol-id: "...)
		b = appendUint(b, uint64(r.Proto()))
		b = append(b, ',')
	}
	b = append(b, " zone name: "...)
	b = appendWord(b, n.Zone(r.InZone()))
	b = append(b, ", interface name: "...)
	b = appendWord(b, n.Interface(r.Interface()))
	b = append(b, ", action: "...)
	return append(b, screenAction(r.Action())...)
}
