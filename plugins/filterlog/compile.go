package filterlog

import "github.com/rtflow/pipelined/core/packet"

// newMatcher compiles the terms' conditions.
func newMatcher(terms []termOptions) *matcher {
	m := &matcher{words: make([]word, (len(terms)+63)/64)}
	words := len(m.words)
	var c conditions
	for i := range terms {
		m.words[i/64].terms |= 1 << (i % 64)
		c.add(i, &terms[i].From)
	}
	for id := range numFields {
		t := newTable(fieldValues[id], words, c.fields[id])
		for w := range m.words {
			if care := t.careOf(w); care != 0 {
				m.words[w].fields = append(m.words[w].fields, wordField{id, care, t.row, t.bits[w:]})
			}
		}
	}
	m.eitherPort = newTable(noPort+1, words, c.eitherPort)
	m.source = newTrie(words, c.source)
	m.destination = newTrie(words, c.destination)
	m.either = newTrie(words, c.either)
	for w := range m.words {
		wd := &m.words[w]
		wd.eitherPort = m.eitherPort.careOf(w)
		wd.source, wd.destination, wd.either = m.source.careOf(w), m.destination.careOf(w), m.either.careOf(w)
		wd.beyond = wd.eitherPort | wd.source | wd.destination | wd.either
	}
	return m
}

// conditions are those of all terms, by what they are about.
type conditions struct {
	fields                      [numFields][]condition
	eitherPort                  []condition
	source, destination, either []addressList
}

// add takes the conditions of one term apart.
func (c *conditions) add(term int, f *from) {
	for _, p := range [][]protocol{f.Protocol, f.NextHeader, f.PayloadProtocol} {
		c.anyOf(fieldProtocol, term, spansOf(p))
	}
	for _, p := range [][]protocol{f.ProtocolExcept, f.NextHeaderExcept, f.PayloadProtocolExcept} {
		c.noneOf(fieldProtocol, term, spansOf(p), 255)
	}

	c.implied(term, f)

	c.anyOf(fieldSrcPort, term, spansOf(f.SourcePort))
	c.noneOf(fieldSrcPort, term, spansOf(f.SourcePortExcept), 65535)
	c.anyOf(fieldDstPort, term, spansOf(f.DestinationPort))
	c.noneOf(fieldDstPort, term, spansOf(f.DestinationPortExcept), 65535)
	if f.Port != nil {
		c.eitherPort = append(c.eitherPort, anyOf(term, spansOf(f.Port)))
	}
	for _, id := range []fieldID{fieldSrcPort, fieldDstPort} {
		c.noneOf(id, term, spansOf(f.PortExcept), 65535)
	}

	if f.TCPFlags != nil {
		var set bitSet
		for _, t := range f.TCPFlags {
			set |= t.set
		}
		c.anyOf(fieldTCPFlags, term, set.spans())
	}
	if f.TCPInitial {
		c.anyOf(fieldTCPFlags, term, tcpInitial.spans())
	}
	if f.TCPEstablished {
		c.anyOf(fieldTCPFlags, term, tcpEstablished.spans())
	}

	c.icmp(fieldICMPType, term, f.ICMPType, f.ICMPTypeExcept)
	c.icmp(fieldICMPCode, term, asTypes(f.ICMPCode), asTypes(f.ICMPCodeExcept))

	c.fragment(term, f)
	c.anyOf(fieldFragOffset, term, spansOf(f.FragmentOffset))
	c.noneOf(fieldFragOffset, term, spansOf(f.FragmentOffsetExcept), fragOffsetField.max)

	for _, d := range [][]dscp{f.DSCP, f.TrafficClass} {
		c.anyOf(fieldDSCP, term, spansOf(d))
	}
	for _, d := range [][]dscp{f.DSCPExcept, f.TrafficClassExcept} {
		c.noneOf(fieldDSCP, term, spansOf(d), dscpField.max)
	}
	c.anyOf(fieldLength, term, spansOf(f.PacketLength))
	c.noneOf(fieldLength, term, spansOf(f.PacketLengthExcept), maxLength)
	for _, t := range [][]ttl{f.TTL, f.HopLimit} {
		c.anyOf(fieldTTL, term, spansOf(t))
	}
	for _, t := range [][]ttl{f.TTLExcept, f.HopLimitExcept} {
		c.noneOf(fieldTTL, term, spansOf(t), 255)
	}

	for _, a := range []struct {
		list []address
		to   *[]addressList
	}{{f.Source, &c.source}, {f.Destination, &c.destination}, {f.Address, &c.either}} {
		if a.list != nil {
			*a.to = append(*a.to, addressList{term, a.list})
		}
	}
}

// implied adds what other conditions say about the protocol, so that most packets are spared a look at them.
func (c *conditions) implied(term int, f *from) {
	if f.SourcePort != nil || f.SourcePortExcept != nil || f.DestinationPort != nil || f.DestinationPortExcept != nil ||
		f.Port != nil || f.PortExcept != nil {
		c.anyOf(fieldProtocol, term, protocols(packet.ProtoTCP, packet.ProtoUDP, packet.ProtoSCTP))
	}
	if f.TCPFlags != nil || f.TCPInitial || f.TCPEstablished {
		c.anyOf(fieldProtocol, term, protocols(packet.ProtoTCP))
	}
	if f.ICMPType != nil || f.ICMPTypeExcept != nil {
		c.anyOf(fieldProtocol, term, protocols(packet.ProtoICMP, packet.ProtoICMPv6))
	}
}

func protocols(list ...uint32) []span {
	spans := make([]span, len(list))
	for i, p := range list {
		spans[i] = span{p, p}
	}
	return spans
}

// anyOf adds a condition; no spans are no condition, but no values may satisfy a bit-field expression: see spans.
func (c *conditions) anyOf(id fieldID, term int, spans []span) {
	if spans != nil {
		c.fields[id] = append(c.fields[id], anyOf(term, spans))
	}
}

func (c *conditions) noneOf(id fieldID, term int, spans []span, most uint32) {
	if spans != nil {
		c.fields[id] = append(c.fields[id], noneOf(term, spans, most))
	}
}

// icmp adds the conditions on a type or code.
func (c *conditions) icmp(id fieldID, term int, wanted, except []icmpType) {
	c.anyOf(id, term, icmpSpans(wanted))
	c.noneOf(id, term, icmpSpans(except), noICMP-1)
}

// fragment adds the conditions on the fields of fragmentation, other than the offset.
func (c *conditions) fragment(term int, f *from) {
	flags := fragFlagField.all()
	if f.FragmentFlags != nil {
		flags = 0
		for _, fl := range f.FragmentFlags {
			flags |= fl.set
		}
	}
	if f.FragmentFlags == nil && !f.IsFragment && !f.FirstFragment {
		return
	}
	spans := []span{}
	for v := range fieldValues[fieldFragment] {
		fragment, later := v>>3&1 == 1, v>>4&1 == 1
		if flags>>(v&7)&1 == 1 && (!f.IsFragment || later) && (!f.FirstFragment || fragment && !later) {
			spans = append(spans, span{v, v})
		}
	}
	c.anyOf(fieldFragment, term, spans)
}

// spansOf returns the spans in a list of fields, nil if there is no list.
func spansOf[T ~struct{ span }](list []T) []span {
	var spans []span
	for _, v := range list {
		spans = append(spans, struct{ span }(v).span)
	}
	return spans
}

// asTypes lets codes go where types go: they differ in their names only.
func asTypes(codes []icmpCode) []icmpType {
	var types []icmpType
	for _, c := range codes {
		types = append(types, icmpType(c))
	}
	return types
}

// icmpSpans returns the spans of ICMP, and behind them those of ICMPv6.
func icmpSpans(list []icmpType) []span {
	var spans []span
	for _, t := range list {
		for i := range t.spans {
			if t.valid[i] {
				spans = append(spans, span{t.spans[i].lo + uint32(i)<<8, t.spans[i].hi + uint32(i)<<8})
			}
		}
	}
	return spans
}

// spans returns the values in the set. It is not nil if the set is empty: an expression that nothing satisfies is still
// a condition.
func (s bitSet) spans() []span {
	spans := []span{}
	for v := range uint32(64) {
		if s>>v&1 == 1 {
			spans = append(spans, span{v, v})
		}
	}
	return spans
}
