package format

import (
	"net/netip"
	"strings"

	"github.com/rtflow/pipelined/sdk/event"
)

// endsWidth is the width of the column with both ends, which holds two addresses of common length with their ports.
const endsWidth = 35

// shortEncoder makes one short line per record for people: when, what, who to whom, why. What matters least stands last, for what
// does not fit into the width of a terminal. A name or value that is not known is left out. Blanks in names become '_'.
type shortEncoder struct {
	*profile
	verbs    [numVerbs]string // with the blanks around them, and in colour if that is asked for
	nameless event.Names
}

// verb is what a line says has happened.
type verb uint8

const (
	verbOpen verb = iota
	verbClose
	verbDeny
	verbReject
	verbScreen
	verbAlarm
	verbFilter
	verbLost

	numVerbs = 8
)

func newShort(o Options) Encoder {
	p, _ := profileOf(Junos22) // it names each attack differently
	e := &shortEncoder{profile: p}
	for v, word := range [numVerbs]struct{ text, colour string }{
		verbOpen: {"open", "32"}, verbClose: {"close", "36"}, verbDeny: {"deny", "31"}, verbReject: {"reject", "31"},
		verbScreen: {"screen", "35"}, verbAlarm: {"alarm", "35"}, verbFilter: {"filter", "33"}, verbLost: {"lost", "1;31"},
	} {
		text := word.text
		if o.Colour {
			text = "\x1b[" + word.colour + "m" + text + "\x1b[0m"
		}
		e.verbs[v] = " " + text + strings.Repeat(" ", len("screen")-len(word.text)+1)
	}
	return e
}

func (e *shortEncoder) Terminator() string { return "\n" }

func (e *shortEncoder) Append(b []byte, r *event.Record, n *event.Names) []byte {
	if n == nil {
		n = &e.nameless
	}
	b = appendClock(b, r.Time())
	switch r.Kind() {
	case event.SessionOpen:
		b = append(b, e.verbs[verbOpen]...)
		b = appendShortFlow(b, r, n, true, true)
		b = appendSpaced(b, n.Policy(r.Policy()))
		b = appendShortZones(b, r, n)
		return appendShortNAT(b, r)
	case event.SessionClose:
		return e.appendClose(b, r, n)
	case event.PolicyDeny:
		v := verbDeny
		if r.Action() == event.ActionReject {
			v = verbReject
		}
		b = append(b, e.verbs[v]...)
		b = appendShortFlow(b, r, n, true, true)
		if isICMP(r) {
			b = append(b, ' ')
			b = appendUint(b, uint64(r.ICMPType()))
		}
		b = appendSpaced(b, n.Policy(r.Policy()))
		return appendShortZones(b, r, n)
	case event.ScreenDrop:
		return e.appendScreen(b, r, n)
	case event.FilterLog:
		return e.appendFilter(b, r, n)
	default:
		return e.appendLoss(b, r, n)
	}
}

func (e *shortEncoder) appendClose(b []byte, r *event.Record, n *event.Names) []byte {
	b = append(b, e.verbs[verbClose]...)
	b = appendShortFlow(b, r, n, true, true)
	b = append(b, ' ')
	b = append(b, shortReason(r.CloseReason())...)
	b = append(b, ' ')
	b = appendElapsed(b, elapsed(r))
	b = append(b, ' ')
	b = appendScaled(b, r.ClientPackets())
	b = append(b, '/')
	b = appendScaled(b, r.ServerPackets())
	b = append(b, "p "...)
	b = appendScaled(b, r.ClientBytes())
	b = append(b, '/')
	b = appendScaled(b, r.ServerBytes())
	b = append(b, 'B')
	b = appendSpaced(b, n.Policy(r.Policy()))
	return appendShortNAT(b, r)
}

func (e *shortEncoder) appendScreen(b []byte, r *event.Record, n *event.Names) []byte {
	t, v := screenOf(r), verbScreen
	if r.Action() == event.ActionPermit {
		v = verbAlarm
	}
	b = append(b, e.verbs[v]...)
	b = appendShortFlow(b, r, n,
		t.tag != screenTCPDstIP && r.Screen() != event.ScreenSessionLimitDst,
		t.tag != screenTCPSrcIP && r.Screen() != event.ScreenSessionLimitSrc)
	b = append(b, ' ')
	b = append(b, e.attackName(t)...)
	return appendShortZone(b, r, n)
}

func (e *shortEncoder) appendFilter(b []byte, r *event.Record, n *event.Names) []byte {
	b = append(b, e.verbs[verbFilter]...)
	b = appendShortFlow(b, r, n, true, true)
	if isICMP(r) {
		b = append(b, ' ')
		b = appendUint(b, uint64(r.ICMPType()))
		b = append(b, '/')
		b = appendUint(b, uint64(r.ICMPCode()))
	}
	b = append(b, ' ')
	b = append(b, strings.TrimPrefix(filterVerb(r.Action()), "filter_")...)
	if filter, term := n.Term(r.Filter(), r.Term()); filter != "" {
		b = appendSpaced(b, filter)
		b = append(b, '/')
		b = appendWord(b, term)
	}
	return appendSpaced(b, n.Interface(r.Interface()))
}

func (e *shortEncoder) appendLoss(b []byte, r *event.Record, n *event.Names) []byte {
	b = append(b, e.verbs[verbLost]...)
	for k, lost := range r.LossCounts() {
		if lost > 0 {
			b = appendUint(b, lost)
			b = append(b, ' ')
			b = append(b, event.Kind(k).String()...)
			b = append(b, ' ')
		}
	}
	if n := r.LossPackets(); n > 0 {
		b = appendUint(b, n)
		b = append(b, " packets "...)
	}
	b = append(b, r.LossReason().String()...)
	b = appendShortZone(b, r, n)
	if since := r.LossSince(); since != 0 {
		b = append(b, " since "...)
		b = appendClock(b, since)
	}
	return b
}

// shortReason returns why a session ended, in few letters.
func shortReason(c event.CloseReason) string {
	switch c {
	case event.CloseTimeout, event.CloseAgeOut:
		return "timeout"
	case event.CloseFIN:
		return "FIN"
	case event.CloseRST:
		return "RST"
	case event.CloseClientRST:
		return "cli RST"
	case event.CloseServerRST:
		return "srv RST"
	case event.ClosePolicy:
		return "policy"
	case event.CloseResponse:
		return "answered"
	case event.CloseICMPError:
		return "ICMP err"
	default:
		return "ended"
	}
}

// appendClock appends Unix nanoseconds as a time of day in UTC: "10:15:20.125". A time that is not known is "-", as wide. The date is
// left out: it would take from what else fits into a line.
func appendClock(b []byte, ns int64) []byte {
	const date, clock = len("2006-01-02T"), len("15:04:05.000")
	if ns == 0 {
		return append(b, "-           "...)
	}
	start := len(b)
	b = appendTime(b, ns)
	copy(b[start:], b[start+date:start+date+clock])
	return b[:start+clock]
}

// appendShortFlow appends both ends and the application, or the protocol if none has matched. An end that the record does not speak of is "*".
func appendShortFlow(b []byte, r *event.Record, n *event.Names, src, dst bool) []byte {
	start := len(b)
	ports := !isICMP(r) && (r.SrcPort() != 0 || r.DstPort() != 0)
	b = appendShortEnd(b, netip.AddrPortFrom(r.Src(), r.SrcPort()), src, ports)
	b = append(b, " > "...)
	b = appendShortEnd(b, netip.AddrPortFrom(r.Dst(), r.DstPort()), dst, ports)
	for len(b) < start+endsWidth {
		b = append(b, ' ')
	}
	b = append(b, ' ')
	if service := strings.TrimPrefix(n.Application(r.Application()), "junos-"); service != "" {
		return appendWord(b, service)
	}
	if name := protocols[r.Proto()].junos; name != "" {
		return append(b, name...)
	}
	b = append(b, "ip-"...)
	return appendUint(b, uint64(r.Proto()))
}

func appendShortEnd(b []byte, end netip.AddrPort, known, port bool) []byte {
	switch {
	case !known:
		return append(b, '*')
	case port && end.IsValid():
		return end.AppendTo(b)
	default:
		return appendAddr(b, end.Addr())
	}
}

// appendSpaced appends a blank and a name, nothing for an empty one.
func appendSpaced(b []byte, name string) []byte {
	if name == "" {
		return b
	}
	return appendWord(append(b, ' '), name)
}

// appendShortZone appends the zone that something came from, nothing if it is not known.
func appendShortZone(b []byte, r *event.Record, n *event.Names) []byte {
	zone := n.Zone(r.InZone())
	if zone == "" {
		return b
	}
	return append(appendSpaced(b, zone), '>')
}

// appendShortZones appends from which zone to which, nothing if neither is known.
func appendShortZones(b []byte, r *event.Record, n *event.Names) []byte {
	from, to := n.Zone(r.InZone()), n.Zone(r.OutZone())
	if from == "" && to == "" {
		return b
	}
	b = append(b, ' ')
	b = appendWord(b, from)
	b = append(b, '>')
	return appendWord(b, to)
}

// appendShortNAT appends the translated ends, without what protocols that have no ports have in their place.
func appendShortNAT(b []byte, r *event.Record) []byte {
	if src, ok := r.NATSrc(); ok {
		b = appendShortEnd(append(b, " snat "...), src, true, !isICMP(r) && src.Port() != 0)
	}
	if dst, ok := r.NATDst(); ok {
		b = appendShortEnd(append(b, " dnat "...), dst, true, !isICMP(r) && dst.Port() != 0)
	}
	return b
}

// appendElapsed appends seconds with the two largest units that they have: "12s", "5m12s", "3h5m", "2d3h".
func appendElapsed(b []byte, s uint64) []byte {
	const minute, hour, day = 60, 60 * 60, 24 * 60 * 60
	two := func(large uint64, largeUnit byte, small uint64, smallUnit byte) []byte {
		b = append(appendUint(b, large), largeUnit)
		return append(appendUint(b, small), smallUnit)
	}
	switch {
	case s < minute:
		return append(appendUint(b, s), 's')
	case s < hour:
		return two(s/minute, 'm', s%minute, 's')
	case s < day:
		return two(s/hour, 'h', s%hour/minute, 'm')
	default:
		return two(s/day, 'd', s%day/hour, 'h')
	}
}

// appendScaled appends a count with two or three digits and a decimal prefix, rounded down: 368, 1.0k, 65k, 18E.
func appendScaled(b []byte, v uint64) []byte {
	if v < 1000 {
		return appendUint(b, v)
	}
	prefix := 0
	var tenths uint64
	for v >= 1000 {
		tenths = v % 1000 / 100
		v /= 1000
		prefix++
	}
	b = appendUint(b, v)
	if v < 10 {
		b = append(b, '.', '0'+byte(tenths))
	}
	return append(b, " kMGTPE"[prefix])
}
