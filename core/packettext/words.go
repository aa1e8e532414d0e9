package packettext

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/spelling"
)

// words read the value of each word of the language.
var words = map[string]func(p *Packet, value string) error{
	"in":       func(p *Packet, v string) error { p.In = v; return nil },
	"out":      func(p *Packet, v string) error { p.Out = v; return nil },
	"from":     func(p *Packet, v string) error { p.From = v; return nil },
	"to":       func(p *Packet, v string) error { p.To = v; return nil },
	"flags":    (*Packet).readFlags,
	"type":     func(p *Packet, v string) error { return readByte(&p.icmpType, v, 255) },
	"code":     func(p *Packet, v string) error { return readByte(&p.icmpCode, v, 255) },
	"ttl":      func(p *Packet, v string) error { return readByte(&p.ttl, v, 255) },
	"dscp":     func(p *Packet, v string) error { return readByte(&p.dscp, v, 63) },
	"length":   (*Packet).readLength,
	"fragment": (*Packet).readFragment,
	"option":   (*Packet).readOption,
}

// Words returns the words of the language, sorted.
func Words() []string { return slices.Sorted(maps.Keys(words)) }

func readByte(to *uint8, value string, most uint64) error {
	n, err := number(value, most)
	*to = uint8(n)
	return err
}

// flagBits are the names of TCP flags.
var flagBits = map[string]uint8{
	"fin": packet.FIN, "syn": packet.SYN, "rst": packet.RST, "psh": packet.PSH, "ack": packet.ACK, "urg": packet.URG, "none": 0,
}

func (p *Packet) readFlags(value string) error {
	names := strings.Split(value, ",")
	for _, name := range names {
		bit, ok := flagBits[name]
		switch {
		case !ok:
			return fmt.Errorf("%s", spelling.Unknown("flag", name, slices.Sorted(maps.Keys(flagBits))))
		case bit == 0 && len(names) > 1:
			return errors.New("none stands alone")
		}
		p.flags |= bit
	}
	return nil
}

// maxLength is the length of the longest IP packet.
const maxLength = 65535

func (p *Packet) readLength(value string) error {
	n, err := number(value, maxLength)
	p.length = int(n)
	return err
}

// readFragment reads the offset of a fragment in bytes, with a "+" behind it if more fragments follow.
func (p *Packet) readFragment(value string) error {
	offset, more := strings.CutSuffix(value, "+")
	n, err := number(offset, 65528)
	switch {
	case err != nil:
		return err
	case n%8 != 0:
		return errors.New("the offset of a fragment is a multiple of 8")
	case n == 0 && !more:
		return errors.New(`a packet that begins at 0 and of which no more follows is no fragment; write "0+"`)
	}
	p.fragment, p.fragOffset, p.more = true, int(n), more
	return nil
}

// optionBytes are the IPv4 options, padded to four bytes.
var optionBytes = map[string][]byte{
	"record-route":        {7, 7, 4, 0, 0, 0, 0, 0},
	"timestamp":           {68, 8, 5, 0, 0, 0, 0, 0},
	"security":            {130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	"stream":              {136, 4, 0, 0},
	"loose-source-route":  {131, 7, 4, 0, 0, 0, 0, 0},
	"strict-source-route": {137, 7, 4, 0, 0, 0, 0, 0},
	"bad":                 {7, 40, 4, 0},
}

func (p *Packet) readOption(value string) error {
	if _, ok := optionBytes[value]; !ok {
		return fmt.Errorf("%s", spelling.Unknown("option", value, slices.Sorted(maps.Keys(optionBytes))))
	}
	p.option = value
	return nil
}

// check finds what does not fit together, and sets what the text leaves out.
func (ps *parser) check() error {
	p := &ps.p
	ip4 := p.Src.Addr().Is4()
	for _, c := range []struct {
		word   string
		misfit bool
		text   string
	}{
		{"flags", p.Proto != packet.ProtoTCP, "only TCP has flags"},
		{"flags", p.fragOffset > 0, "a later fragment has no flags"},
		{"type", !packet.IsICMP(p.Proto), "only ICMP has a type"},
		{"code", !packet.IsICMP(p.Proto), "only ICMP has a code"},
		{"type", p.fragOffset > 0, "a later fragment has no type"},
		{"code", p.fragOffset > 0, "a later fragment has no code"},
		{"out", p.In != "", "a packet is seen where it comes in or where it goes out: in and out do not stand together"},
		{"option", !ip4, "options are of IPv4"},
		{"length", p.given["length"].text != "" && p.length < p.shortest(), fmt.Sprintf("the packet is at least %d bytes long", p.shortest())},
	} {
		if t, given := p.given[c.word]; given && c.misfit {
			return ps.errorf(t.offset, "%s", c.text)
		}
	}
	if _, given := p.given["flags"]; !given && p.Proto == packet.ProtoTCP {
		p.flags = packet.SYN
	}
	if _, given := p.given["type"]; !given {
		p.icmpType = packet.ICMPEchoRequest
		if p.Proto == packet.ProtoICMPv6 {
			p.icmpType = packet.ICMPv6EchoRequest
		}
	}
	if p.length == 0 {
		p.length = p.shortest()
	}
	if rest := (p.length - p.headers()) % 8; p.more && rest != 0 { // of all fragments but the last the length is a multiple of 8
		if p.length += 8 - rest; p.length > maxLength {
			return ps.errorf(p.given["length"].offset, "a fragment that is not the last is at most %d bytes long here", p.length-8)
		}
	}
	return nil
}
