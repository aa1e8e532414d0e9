package format

import (
	"sync/atomic"

	"github.com/rtflow/pipelined/sdk/event"
)

// maxPhrases is how many phrases an encoder keeps, a power of two.
const maxPhrases = 1 << 9

// part says which part of a message a phrase is.
type part uint8

const (
	createService part = iota
	denyService
	flowPath
	denyPath
	createEnd
	closeEnd
)

// phraseKey is what the text of a phrase depends on beside the names.
type phraseKey struct {
	part    part
	action  event.Action // denyPath
	in, out uint16       // zones: flowPath, denyPath
	id      uint32       // of the policy: flowPath, denyPath; of the application: createService, denyService
	iface   uint32       // denyPath, createEnd, closeEnd
}

// phrase is the text of a part of a message in which only names vary: most records have one that many had before.
type phrase struct {
	key  phraseKey
	text string
}

// phraseTable keeps the phrases made of one generation of names. A place belongs to the first phrase that comes to it, so that
// more combinations than there are places do not cost an allocation for each record. It is safe for concurrent use.
type phraseTable struct {
	names  *event.Names
	places [maxPhrases]atomic.Pointer[phrase]
}

func (k *phraseKey) place() uint32 {
	h := (uint32(k.in)<<16 | uint32(k.out)) * 0x9e3779b1
	h = (h ^ k.id) * 0x85ebca6b
	h = (h ^ k.iface ^ uint32(k.part)<<24 ^ uint32(k.action)<<16) * 0xc2b2ae35
	return h >> 16 % maxPhrases
}

// append appends the phrase of k.
func (e *syslogEncoder) appendPhrase(b []byte, k phraseKey, n *event.Names) []byte {
	t := e.phrases.Load()
	if t == nil || t.names != n {
		t = &phraseTable{names: n}
		e.phrases.Store(t)
	}
	place := &t.places[k.place()]
	kept := place.Load()
	if kept != nil && kept.key == k {
		return append(b, kept.text...)
	}
	before := len(b)
	b = e.makePhrase(b, &k, n)
	if kept == nil {
		place.Store(&phrase{k, string(b[before:])})
	}
	return b
}

// makePhrase appends the phrase of k, made anew.
func (e *syslogEncoder) makePhrase(b []byte, k *phraseKey, n *event.Names) []byte {
	switch k.part {
	case createService, denyService:
		b = append(b, `" connection-tag="0" service-name="`...)
		b = appendValue(b, serviceName(n, uint16(k.id)))
		if k.part == denyService {
			return append(b, `" protocol-id="`...)
		}
		return append(b, `" nat-source-address="`...)
	case flowPath:
		b = appendPolicyAndZones(b, k, n)
		return append(b, e.sessionID...)
	case denyPath:
		b = appendPolicyAndZones(b, k, n)
		b = append(b, noAppID+noUser...)
		b = appendInterface(b, k.iface, n)
		b = append(b, ` encrypted="No" reason="`...)
		b = append(b, denyReason(k.action)...)
		b = append(b, '"')
		return append(b, e.sessionID...)
	case createEnd:
		b = append(b, `"`+noUser...)
		b = appendInterface(b, k.iface, n)
		return append(b, e.createTail...)
	default: // unlike in CREATE, user and interface stand behind the application
		b = append(b, `"`+noAppID+noUser...)
		b = appendInterface(b, k.iface, n)
		return append(b, e.closeTail...)
	}
}

func appendPolicyAndZones(b []byte, k *phraseKey, n *event.Names) []byte {
	b = append(b, `" policy-name="`...)
	b = appendValue(b, n.Policy(k.id))
	b = append(b, `" source-zone-name="`...)
	b = appendValue(b, n.Zone(k.in))
	b = append(b, `" destination-zone-name="`...)
	b = appendValue(b, n.Zone(k.out))
	return append(b, '"')
}

func appendInterface(b []byte, id uint32, n *event.Names) []byte {
	b = append(b, ` packet-incoming-interface="`...)
	b = appendValue(b, n.Interface(id))
	return append(b, '"')
}
