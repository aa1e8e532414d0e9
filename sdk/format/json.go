package format

import (
	"net/netip"
	"strconv"

	"github.com/rtflow/pipelined/sdk/event"
)

// jsonEncoder makes one JSON object per record, named after the Elastic Common Schema, and where that has no name after the
// fields of Elastic's juniper_srx integration (juniper.srx.*), so that its dashboards work. What is unknown is left out.
//
// The close reason and the session id are the most precise there are, whatever the profile. Times have milliseconds like those of
// the lines. A counter above 2^63-1 does not fit the schema's long.
type jsonEncoder struct {
	observer string // `"observer":{…` with the members that never change
	epoch    string // the member `"epoch":"…",` of "pipelined"; "" is unknown
	nameless event.Names
}

func newJSON(o Options) Encoder {
	observer := `"observer":{"type":"firewall","vendor":"Juniper","product":"SRX",` // what consumers of such records look for
	if o.Hostname != "" {
		observer += `"hostname":"` + string(appendCleaned(nil, o.Hostname, escJSON)) + `",`
	}
	return &jsonEncoder{observer: observer, epoch: epochMember(o.Epoch)}
}

// epochMember returns the member that names a stream. It is a string: not every reader of JSON takes all digits of a number.
func epochMember(epoch uint64) string {
	if epoch == 0 {
		return ""
	}
	return `"epoch":"` + strconv.FormatUint(epoch, 10) + `",`
}

func (e *jsonEncoder) Terminator() string { return "\n" }

// Append writes every member with a comma behind it; closing an object turns the last comma into its brace.
func (e *jsonEncoder) Append(b []byte, r *event.Record, n *event.Names) []byte {
	if n == nil {
		n = &e.nameless
	}
	b = append(b, '{')
	b = appendTimeMember(b, `"@timestamp":"`, r.Time())
	if r.Kind() == event.Loss {
		b = e.appendLoss(b, r)
		b = e.appendObserver(b, r, n)
		return closeObject(b)
	}
	b = appendJSONEvent(b, r)
	b = appendEnds(b, r)
	b = appendNetwork(b, r)
	b = e.appendObserver(b, r, n)
	b = appendRule(b, r, n)
	b = appendJuniper(b, r, n)
	if e.epoch != "" {
		b = append(b, `"pipelined":{`...)
		b = endObject(append(b, e.epoch...))
	}
	return closeObject(b)
}

// closeObject ends an object that has at least one member.
func closeObject(b []byte) []byte {
	b[len(b)-1] = '}'
	return b
}

// endObject is closeObject for an object inside another.
func endObject(b []byte) []byte { return append(closeObject(b), ',') }

// appendNumber appends a member whose value is a number; key is `"name":`.
func appendNumber(b []byte, key string, v uint64) []byte {
	b = append(b, key...)
	b = appendUint(b, v)
	return append(b, ',')
}

// appendTimeMember appends a member whose value is a time, nothing for time 0; key is `"name":"`.
func appendTimeMember(b []byte, key string, ns int64) []byte {
	if ns == 0 {
		return b
	}
	b = append(b, key...)
	b = appendTime(b, ns)
	return append(b, `",`...)
}

// appendNameMember appends a member whose value is a name, nothing for an empty one; key is `"name":"`.
func appendNameMember(b []byte, key, name string) []byte {
	if name == "" {
		return b
	}
	b = append(b, key...)
	b = appendJSON(b, name)
	return append(b, `",`...)
}

// appendJSONEvent appends event.*. Outcome is that of the firewall's own doing, so a drop is a success.
func appendJSONEvent(b []byte, r *event.Record) []byte {
	switch r.Kind() {
	case event.SessionOpen:
		b = append(b, `"event":{"kind":"event","category":["network"],"type":["start","allowed","connection"],`+
			`"action":"flow_started","outcome":"success",`...)
		b = appendTimeMember(b, `"start":"`, r.Time())
	case event.SessionClose:
		b = append(b, `"event":{"kind":"event","category":["network"],"type":["end","allowed","connection"],`+
			`"action":"flow_close","outcome":"success","reason":"`...)
		b = append(b, closeReason(r.CloseReason())...)
		b = append(b, `",`...)
		b = appendSpan(b, r)
	case event.PolicyDeny:
		b = append(b, `"event":{"kind":"event","category":["network"],"type":["denied","connection"],`+
			`"action":"flow_deny","outcome":"success","reason":"`...)
		b = append(b, denyReason(r.Action())...)
		b = append(b, `",`...)
	case event.ScreenDrop:
		b = append(b, `"event":{"kind":"alert","category":["network","intrusion_detection"],"type":["info",`...)
		b = append(b, allowedOrDenied(r.Action())...)
		b = append(b, `,"connection"],"action":"`...)
		b = append(b, screenOf(r).action...)
		b = append(b, `","outcome":"success",`...)
	default:
		b = append(b, `"event":{"kind":"event","category":["network"],"type":[`...)
		b = append(b, allowedOrDenied(r.Action())...)
		b = append(b, `,"connection"],"action":"`...)
		b = append(b, filterVerb(r.Action())...)
		b = append(b, `","outcome":"success",`...)
	}
	b = appendNumber(b, `"sequence":`, uint64(r.Seq()))
	return endObject(b)
}

// appendSpan appends when a session began and ended; ECS wants the duration in nanoseconds.
func appendSpan(b []byte, r *event.Record) []byte {
	const nsPerSecond = 1_000_000_000
	ns := int64(elapsed(r)) * nsPerSecond
	b = appendNumber(b, `"duration":`, uint64(ns))
	if end := r.Time(); end != 0 {
		b = appendTimeMember(b, `"start":"`, end-ns)
		b = appendTimeMember(b, `"end":"`, end)
	}
	return b
}

func allowedOrDenied(a event.Action) string {
	if a == event.ActionPermit {
		return `"allowed"`
	}
	return `"denied"`
}

func filterVerb(a event.Action) string {
	switch a {
	case event.ActionPermit:
		return "filter_accept"
	case event.ActionReject:
		return "filter_reject"
	default:
		return "filter_discard"
	}
}

// end is one end of a flow.
type end struct {
	addr           netip.Addr
	port           uint16
	bytes, packets uint64
	nat            netip.AddrPort
	translated     bool
}

// appendEnds appends source.* and destination.*, the same again as client.* and server.*, and related.ip.
func appendEnds(b []byte, r *event.Record) []byte {
	src := end{addr: r.Src(), port: r.SrcPort(), bytes: r.ClientBytes(), packets: r.ClientPackets()}
	dst := end{addr: r.Dst(), port: r.DstPort(), bytes: r.ServerBytes(), packets: r.ServerPackets()}
	if !src.addr.IsValid() {
		return b
	}
	if session(r) {
		src.nat, src.translated = r.NATSrc()
		dst.nat, dst.translated = r.NATDst()
	}
	b = append(b, `"source":`...)
	source := len(b)
	b = src.append(append(b, `{"ip":"`...), r)
	sourceEnd := len(b)
	b = append(b, `"destination":`...)
	destination := len(b)
	b = dst.append(append(b, `{"ip":"`...), r)
	destinationEnd := len(b)
	b = append(b, `"client":`...)
	b = append(b, b[source:sourceEnd]...)
	b = append(b, `"server":`...)
	b = append(b, b[destination:destinationEnd]...)
	return appendRelated(b, &src, &dst)
}

// appendRelated appends related.ip: every address of the record, each once.
func appendRelated(b []byte, src, dst *end) []byte {
	all := [4]netip.Addr{src.addr, dst.addr, src.nat.Addr(), dst.nat.Addr()}
	b = append(b, `"related":{"ip":[`...)
	for i, a := range all {
		known := !a.IsValid()
		for _, before := range all[:i] {
			known = known || a == before
		}
		if !known {
			b = append(b, '"')
			b = a.AppendTo(b)
			b = append(b, `",`...)
		}
	}
	b[len(b)-1] = ']'
	return append(b, `},`...)
}

func (e *end) append(b []byte, r *event.Record) []byte {
	b = e.addr.AppendTo(b)
	b = append(b, `",`...)
	if hasPorts(r) {
		b = appendNumber(b, `"port":`, uint64(e.port))
	}
	if r.Kind() == event.SessionClose {
		b = appendNumber(b, `"bytes":`, e.bytes)
		b = appendNumber(b, `"packets":`, e.packets)
	}
	if e.translated {
		b = append(b, `"nat":{"ip":"`...)
		b = e.nat.Addr().AppendTo(b)
		b = append(b, `",`...)
		b = appendNumber(b, `"port":`, uint64(e.nat.Port()))
		b = endObject(b)
	}
	return endObject(b)
}

func session(r *event.Record) bool {
	return r.Kind() == event.SessionOpen || r.Kind() == event.SessionClose
}

// hasPorts reports whether the record's port fields mean something. Those of an ICMP echo hold identifier and sequence
// number, as in the lines.
func hasPorts(r *event.Record) bool {
	switch r.Proto() {
	case protoTCP, protoUDP, protoSCTP:
		return true
	case protoICMP, protoICMPv6:
		return session(r) || r.Kind() == event.PolicyDeny
	default:
		return false
	}
}

func appendNetwork(b []byte, r *event.Record) []byte {
	b = append(b, `"network":{`...)
	b = appendNameMember(b, `"transport":"`, protocolName(r.Proto()).iana)
	b = append(b, `"iana_number":"`...) // a keyword in the schema
	b = appendUint(b, uint64(r.Proto()))
	b = append(b, `",`...)
	switch r.Family() {
	case event.FamilyIPv4:
		b = append(b, `"type":"ipv4",`...)
	case event.FamilyIPv6:
		b = append(b, `"type":"ipv6",`...)
	}
	if r.Kind() == event.SessionClose {
		b = appendNumber(b, `"bytes":`, saturatingAdd(r.ClientBytes(), r.ServerBytes()))
		b = appendNumber(b, `"packets":`, saturatingAdd(r.ClientPackets(), r.ServerPackets()))
	}
	return endObject(b)
}

func saturatingAdd(x, y uint64) uint64 {
	if sum := x + y; sum >= x {
		return sum
	}
	return 1<<64 - 1
}

func (e *jsonEncoder) appendObserver(b []byte, r *event.Record, n *event.Names) []byte {
	b = append(b, e.observer...)
	in := n.Zone(r.InZone())
	if r.Kind() == event.Loss {
		if in != "" {
			b = append(b, `"ingress":{`...)
			b = appendNameMember(b, `"zone":"`, in)
			b = endObject(b)
		}
		return endObject(b)
	}
	iface := n.Interface(r.Interface())
	if in != "" || iface != "" {
		b = append(b, `"ingress":{`...)
		b = appendNameMember(b, `"zone":"`, in)
		if iface != "" {
			b = append(b, `"interface":{`...)
			b = appendNameMember(b, `"name":"`, iface)
			b = endObject(b)
		}
		b = endObject(b)
	}
	if out := n.Zone(r.OutZone()); out != "" {
		b = append(b, `"egress":{`...)
		b = appendNameMember(b, `"zone":"`, out)
		b = endObject(b)
	}
	return endObject(b)
}

// appendRule appends what decided: the policy, or the filter as rule set and its term as rule.
func appendRule(b []byte, r *event.Record, n *event.Names) []byte {
	var set, name string
	switch r.Kind() {
	case event.ScreenDrop:
		return b
	case event.FilterLog:
		set, name = n.Term(r.Filter(), r.Term())
	default:
		name = n.Policy(r.Policy())
	}
	if set == "" && name == "" {
		return b
	}
	b = append(b, `"rule":{`...)
	b = appendNameMember(b, `"ruleset":"`, set)
	b = appendNameMember(b, `"name":"`, name)
	return endObject(b)
}

// appendJuniper appends juniper.srx.*: keywords, so ids are strings.
func appendJuniper(b []byte, r *event.Record, n *event.Names) []byte {
	b = append(b, `"juniper":{"srx":{`...)
	switch r.Kind() {
	case event.SessionOpen:
		b = append(b, `"process":"`+programFlow+`","tag":"`+tagCreate+`",`...)
	case event.SessionClose:
		b = append(b, `"process":"`+programFlow+`","tag":"`+tagClose+`",`...)
	case event.PolicyDeny:
		b = append(b, `"process":"`+programFlow+`","tag":"`+tagDeny+`",`...)
		if isICMP(r) {
			b = append(b, `"icmp_type":"`...)
			b = appendUint(b, uint64(r.ICMPType()))
			b = append(b, `",`...)
		}
	case event.ScreenDrop:
		t := screenOf(r)
		b = append(b, `"process":"`+programScreen+`","tag":"`...)
		b = append(b, t.tag.String()...)
		b = append(b, `","attack_name":"`...)
		b = append(b, t.attack...)
		b = append(b, `","action":"`...)
		b = append(b, screenAction(r.Action())...)
		b = append(b, `",`...)
	default:
		b = append(b, `"tag":"`+tagFilter+`",`...)
		if isICMP(r) {
			b = append(b, `"icmp_type":"`...)
			b = appendUint(b, uint64(r.ICMPType()))
			b = append(b, `","icmp_code":"`...)
			b = appendUint(b, uint64(r.ICMPCode()))
			b = append(b, `",`...)
		}
	}
	if session(r) || r.Kind() == event.PolicyDeny {
		b = appendNameMember(b, `"service_name":"`, n.Application(r.Application()))
		b = append(b, `"session_id":"`...)
		b = appendUint(b, r.SessionID())
		b = append(b, `",`...)
	}
	return endObject(endObject(b))
}

// appendLoss appends event.* and, under a name of our own, how many events of which kind are missing.
func (e *jsonEncoder) appendLoss(b []byte, r *event.Record) []byte {
	b = append(b, `"event":{"kind":"event","category":["network"],"type":["info"],"action":"events_lost",`+
		`"outcome":"failure","reason":"`...)
	b = append(b, r.LossReason().String()...)
	b = append(b, `",`...)
	b = appendTimeMember(b, `"start":"`, r.LossSince())
	b = appendTimeMember(b, `"end":"`, r.Time())
	b = appendNumber(b, `"sequence":`, uint64(r.Seq()))
	b = endObject(b)

	b = append(b, `"pipelined":{`...)
	b = append(b, e.epoch...)
	b = append(b, `"lost":{`...)
	counts := r.LossCounts()
	for k, lost := range counts {
		if lost == 0 {
			continue
		}
		b = append(b, '"')
		b = append(b, event.Kind(k).String()...)
		b = append(b, `":`...)
		b = appendUint(b, lost)
		b = append(b, ',')
	}
	b = appendNumber(b, `"total":`, counts.Total())
	return endObject(endObject(b))
}
