package policydeny

import (
	"slices"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/packet"
)

// applicationLabels gives the labels of a packet's protocol, ports and ICMP type: the numbers of the lists of terms of
// which it matches one. A search for the destination port finds those that may match.
type applicationLabels struct {
	terms     [][]application.Term // by label; nil = every application
	every     []uint32             // labels of every application
	protocols [256]*protocolLabels
	longest   int // number of labels that a packet can have
}

// protocolLabels are the candidates among packets of one protocol.
type protocolLabels struct {
	ports searchTree[uint32] // destination port to its place in rows
	rows  [][]candidate      // the last is that of a packet without ports
}

// candidate is a label that a packet with that destination port may have.
type candidate struct {
	label uint32
	sure  bool // it has: nothing else is asked for
}

// maxCandidates bounds the memory of the rows: it takes thousands of applications with ranges that overlap.
const maxCandidates = 1 << 24

// newApplicationLabels numbers the lists of terms by their place. It returns nil if they overlap too much.
func newApplicationLabels(terms [][]application.Term) *applicationLabels {
	a := &applicationLabels{terms: terms}
	byProtocol := make(map[uint8][]uint32)
	for label, list := range terms {
		if list == nil {
			a.every = append(a.every, uint32(label))
		}
		for i := range list {
			labels := byProtocol[list[i].Proto]
			if n := len(labels); n == 0 || labels[n-1] != uint32(label) {
				byProtocol[list[i].Proto] = append(labels, uint32(label))
			}
		}
	}
	total := 0
	for proto, labels := range byProtocol {
		p, size := a.newProtocol(proto, labels)
		if total += size; total > maxCandidates {
			return nil
		}
		a.protocols[proto] = p
		for _, row := range p.rows {
			a.longest = max(a.longest, len(row))
		}
	}
	a.longest += len(a.every)
	return a
}

// newProtocol returns the candidates of a protocol, and how many they are.
func (a *applicationLabels) newProtocol(proto uint8, labels []uint32) (p *protocolLabels, size int) {
	// The candidates can change only where a range of ports begins or has ended.
	begins := []uint32{0, 1 << 16}
	for _, label := range labels {
		for i := range a.terms[label] {
			if t := &a.terms[label][i]; t.Proto == proto && !t.Dst.Any() {
				begins = append(begins, uint32(t.Dst.Lo), uint32(t.Dst.Hi)+1)
			}
		}
	}
	slices.Sort(begins)
	begins = slices.Compact(begins)
	p = &protocolLabels{rows: make([][]candidate, len(begins))}
	for _, label := range labels {
		for i := range a.terms[label] {
			t := &a.terms[label][i]
			if t.Proto != proto {
				continue
			}
			sure := t.Src.Any() && t.ICMPType == application.AnyICMP
			first, end := 0, len(begins) // the last row is that of packets without ports
			if !t.Dst.Any() {
				first, _ = slices.BinarySearch(begins, uint32(t.Dst.Lo))
				end, _ = slices.BinarySearch(begins, uint32(t.Dst.Hi)+1)
			}
			for r := first; r < end; r++ {
				row := p.rows[r]
				if n := len(row); n > 0 && row[n-1].label == label {
					row[n-1].sure = row[n-1].sure || sure
					continue
				}
				p.rows[r] = append(row, candidate{label, sure})
				if size++; size > maxCandidates {
					return p, size
				}
			}
		}
	}
	places := make([]uint32, len(begins))
	for i := range places {
		places[i] = uint32(i)
	}
	p.ports = newSearchTree(begins, places)
	return p, size
}

// of returns the labels of a packet. scratch has room for a.longest of them; the result is part of it.
func (a *applicationLabels) of(h *packet.Headers, scratch []uint32) []uint32 {
	labels := append(scratch[:0], a.every...)
	for _, c := range a.candidates(h) {
		if c.sure || matches(a.terms[c.label], h) {
			labels = append(labels, c.label)
		}
	}
	return labels
}

// none reports whether a packet has no labels for sure.
func (a *applicationLabels) none(h *packet.Headers) bool {
	return len(a.every) == 0 && len(a.candidates(h)) == 0
}

// candidates returns the labels that a packet may have, beside those of every application.
func (a *applicationLabels) candidates(h *packet.Headers) []candidate {
	p := a.protocols[h.Proto]
	if p == nil {
		return nil
	}
	row := uint32(len(p.rows) - 1)
	if port := uint32(h.DstPort); h.HasHead {
		row = p.ports.find(port, p.ports.seek(port))
	}
	return p.rows[row]
}

func matches(terms []application.Term, h *packet.Headers) bool {
	for i := range terms {
		if terms[i].Match(h) {
			return true
		}
	}
	return false
}

// timeout returns the inactivity timeout of the first of the terms that the packet matches, 0 if there is none.
func timeout(terms []application.Term, h *packet.Headers) uint32 {
	for i := range terms {
		if terms[i].Match(h) {
			return terms[i].Timeout
		}
	}
	return 0
}
