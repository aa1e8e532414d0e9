package format

import (
	"strconv"

	"github.com/rtflow/pipelined/sdk/event"
)

// jsonEncoder makes one JSON object per record, named after the Elastic Common Schema, and where that has no name after the
// fields of Elastic's juniper_srx integration (juniper.srx.*), so that its dashboards work. What is unknown is left out.
//
// Close reason and session id do not depend on the profile: they are those of the record. Times have milliseconds. A counter
// above 2^63-1 is printed as it is, and does not fit the type long of the schema.
type jsonEncoder struct {
	observer string // `"observer":{…` with the members that never change
	epoch    string // the member `"epoch":"…",` of "pipelined"; "" is unknown
	nameless event.Names
}

func newJSON(o Options) Encoder {
	observer := `"observer":{"type":"firewall","vendor":"Juniper","product":"SRX",` // the values of the juniper_srx integration
	if o.Hostname != "" {
		observer += `"hostname":"` + string(appendCleaned(nil, o.Hostname, escJSON)) + `",`
	}
	return &jsonEncoder{observer: observer, epoch: epochMember(o.Epoch)}
}

// epochMember returns the member that identifies a stream. It is a string, because some readers of JSON round large numbers.
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

// appendJSONEvent appends event.*. The outcome is that of the firewall's action, so a drop is a success.
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

// appendRule appends rule.*: the policy, or the filter as rule set and its term as rule.
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

// appendLoss appends event.* and, as pipelined.lost, which the schema does not have, how many events of which kind are missing.
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
	if n := r.LossPackets(); n > 0 {
		b = appendNumber(b, `"packets":`, n)
	}
	b = appendNumber(b, `"total":`, counts.Total())
	return endObject(endObject(b))
}
