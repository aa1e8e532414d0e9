package format

import (
	"sync/atomic"

	"github.com/rtflow/pipelined/sdk/event"
)

// phraseBits is the binary logarithm of how many phrases an encoder keeps.
const phraseBits = 9

// part says which part of a message a phrase is.
type part uint8

const (
	createService part = iota // from behind the destination port
	denyService               // up to the ICMP type
	flowPath                  // from behind the translation up to the session id
	denyPath                  // the same of a denial
	createEnd                 // from behind the session id
	closeEnd                  // from behind the elapsed time
)

// phraseKey holds what the text of a phrase depends on beside the names.
type phraseKey struct {
	path uint64 // policy and zones
	rest uint64 // the part in the highest byte, and what else it depends on
}

func keyOf(p part, rest uint64) phraseKey { return phraseKey{0, uint64(p)<<56 | rest} }

// pathKey is keyOf for a part that holds the policy and the zones.
func pathKey(p part, r *event.Record, rest uint64) phraseKey {
	return phraseKey{uint64(r.Policy())<<32 | uint64(r.InZone())<<16 | uint64(r.OutZone()), uint64(p)<<56 | rest}
}

func (k phraseKey) part() part { return part(k.rest >> 56) }

func (k phraseKey) place() uint64 {
	return (k.path*0x9e3779b97f4a7c15 ^ k.rest) * 0xd6e8feb86659fd93 >> (64 - phraseBits)
}

// phrase is the text of a part of a message in which only names vary, and what is seldom new: most records have one that many had before.
type phrase struct {
	key  phraseKey
	text string
}

// phrases keeps those made of one generation of names. A place belongs to the first phrase that comes to it, so that
// more combinations than there are places do not cost an allocation for each record. It is safe for concurrent use.
type phrases struct {
	*profile
	names  *event.Names
	places [1 << phraseBits]atomic.Pointer[phrase]
}

// append appends the part of the message for r whose key is k.
func (t *phrases) append(b []byte, k phraseKey, r *event.Record) []byte {
	kept := t.places[k.place()].Load()
	if kept == nil || kept.key != k {
		return t.add(b, k, r)
	}
	return append(b, kept.text...)
}

// add appends a part of the message for r made anew, and keeps it if its place is free.
func (t *phrases) add(b []byte, k phraseKey, r *event.Record) []byte {
	before := len(b)
	b = t.make(b, k.part(), r)
	if place := &t.places[k.place()]; place.Load() == nil {
		place.Store(&phrase{k, string(b[before:])})
	}
	return b
}

// make appends a part of the message for r, made anew.
func (t *phrases) make(b []byte, p part, r *event.Record) []byte {
	switch p {
	case createService:
		b = appendService(b, r, t.names)
		return append(b, `" nat-source-address="`...)
	case denyService:
		b = appendService(b, r, t.names)
		b = append(b, `" protocol-id="`...)
		b = appendUint(b, uint64(r.Proto()))
		b = append(b, `" icmp-type="`...)
		return appendUint(b, uint64(icmpType(r)))
	case flowPath:
		b = append(b, `" nat-connection-tag="0" src-nat-rule-type="N/A" src-nat-rule-name="N/A" dst-nat-rule-type="N/A"`+
			` dst-nat-rule-name="N/A" protocol-id="`...)
		b = appendUint(b, uint64(r.Proto()))
		b = appendPolicyAndZones(b, r, t.names)
		return append(b, t.sessionID...)
	case denyPath:
		b = appendPolicyAndZones(b, r, t.names)
		b = append(b, noAppID+noUser...)
		b = appendInterface(b, r, t.names)
		b = append(b, ` encrypted="No" reason="`...)
		b = append(b, denyReason(r.Action())...)
		b = append(b, '"')
		return append(b, t.sessionID...)
	case createEnd:
		b = append(b, `"`+noUser...)
		b = appendInterface(b, r, t.names)
		return append(b, t.createTail...)
	default: // unlike in CREATE, user and interface stand behind the application
		b = append(b, `"`+noAppID+noUser...)
		b = appendInterface(b, r, t.names)
		return append(b, t.closeTail...)
	}
}

func appendService(b []byte, r *event.Record, n *event.Names) []byte {
	b = append(b, `" connection-tag="0" service-name="`...)
	return appendValue(b, serviceName(n, r.Application()))
}

func appendPolicyAndZones(b []byte, r *event.Record, n *event.Names) []byte {
	b = append(b, `" policy-name="`...)
	b = appendValue(b, n.Policy(r.Policy()))
	b = append(b, `" source-zone-name="`...)
	b = appendValue(b, n.Zone(r.InZone()))
	b = append(b, `" destination-zone-name="`...)
	b = appendValue(b, n.Zone(r.OutZone()))
	return append(b, '"')
}

func appendInterface(b []byte, r *event.Record, n *event.Names) []byte {
	b = append(b, ` packet-incoming-interface="`...)
	b = appendValue(b, n.Interface(r.Interface()))
	return append(b, '"')
}
