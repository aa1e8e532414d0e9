package packettext

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/spelling"
)

// Packet is one packet as a text describes it.
type Packet struct {
	Text     string
	Proto    uint8
	Src, Dst netip.AddrPort
	// In is the interface that the packet comes in on, Out that by which it leaves; "": not said. At most one of them is set.
	In, Out string
	// From and To are the zones that the packet comes from and goes to; "": not said, and found by interface and address.
	From, To string

	flags      uint8
	icmpType   uint8
	icmpCode   uint8
	length     int // of the IP packet; 0: as short as it can be
	ttl, dscp  uint8
	fragment   bool
	fragOffset int // in bytes
	more       bool
	option     string // "": none

	hasPorts bool
	given    map[string]token // the words of the text, with their values
}

// Between returns the packet with the zones that it comes from and goes to, and says so in its text. "" changes nothing.
func (p *Packet) Between(from, to string) *Packet {
	q := *p
	if from != "" {
		q.From = from
		q.Text += " from " + from
	}
	if to != "" {
		q.To = to
		q.Text += " to " + to
	}
	return &q
}

// ICMP returns the type and the code of a packet of ICMP, of an echo request where the text says nothing; zeros of another.
func (p *Packet) ICMP() (icmpType, icmpCode uint8) {
	if !packet.IsICMP(p.Proto) {
		return 0, 0
	}
	return p.icmpType, p.icmpCode
}

// Error is a mistake in a text.
type Error struct {
	Column int // where, in characters from 1
	Text   string
}

func (e *Error) Error() string { return fmt.Sprintf("at character %d: %s", e.Column, e.Text) }

// token is a word of a text and where it begins.
type token struct {
	text   string
	offset int
}

// parser reads one text.
type parser struct {
	text   string
	tokens []token
	p      Packet
}

// Parse reads a text. The error is an [*Error].
func Parse(text string) (*Packet, error) {
	ps := &parser{text: text, p: Packet{Text: text, ttl: 64, given: make(map[string]token)}}
	for offset := 0; offset < len(text); {
		rest := text[offset:]
		word := strings.TrimLeft(rest, " \t")
		offset += len(rest) - len(word)
		if end := strings.IndexAny(word, " \t"); end >= 0 {
			word = word[:end]
		}
		if word != "" {
			ps.tokens = append(ps.tokens, token{word, offset})
		}
		offset += len(word)
	}
	if err := ps.parse(); err != nil {
		return nil, err
	}
	return &ps.p, nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Packet) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err == nil {
		*p = *parsed
	}
	return err
}

func (ps *parser) errorf(offset int, format string, args ...any) error {
	return &Error{1 + utf8.RuneCountInString(ps.text[:offset]), fmt.Sprintf(format, args...)}
}

// next takes the next word; what says what is wanted there.
func (ps *parser) next(what string) (token, error) {
	if len(ps.tokens) == 0 {
		return token{}, ps.errorf(len(ps.text), "%s is missing", what)
	}
	t := ps.tokens[0]
	ps.tokens = ps.tokens[1:]
	return t, nil
}

func (ps *parser) parse() error {
	if err := ps.protocol(); err != nil {
		return err
	}
	source, err := ps.next("the source address")
	if err != nil {
		return err
	}
	arrow, err := ps.next(`">"`)
	if err != nil {
		return err
	}
	if arrow.text != ">" {
		return ps.errorf(arrow.offset, `">" stands between source and destination, not %s`, spelling.Quote(arrow.text))
	}
	destination, err := ps.next("the destination address")
	if err != nil {
		return err
	}
	for len(ps.tokens) > 0 {
		if err := ps.word(); err != nil {
			return err
		}
	}
	ps.p.hasPorts = hasPorts(ps.p.Proto)
	if ps.p.Src, err = ps.end(source); err != nil {
		return err
	}
	if ps.p.Dst, err = ps.end(destination); err != nil {
		return err
	}
	if ps.p.Src.Addr().Is4() != ps.p.Dst.Addr().Is4() {
		return ps.errorf(destination.offset, "source and destination are of two address families")
	}
	return ps.check()
}

func (ps *parser) protocol() error {
	t, err := ps.next("the protocol")
	if err != nil {
		return err
	}
	proto, ok := application.ParseProtocol(t.text)
	if !ok {
		return ps.errorf(t.offset, "%s", spelling.Unknown("protocol", t.text, application.ProtocolNames()))
	}
	ps.p.Proto = proto
	return nil
}

// end reads an address, with a port if the packet has ports.
func (ps *parser) end(t token) (netip.AddrPort, error) {
	ports := ps.p.hasPorts && ps.p.fragOffset == 0
	if addr, err := netip.ParseAddr(t.text); err == nil {
		switch {
		case addr.Zone() != "":
			return netip.AddrPort{}, ps.errorf(t.offset, "an address has no interface here; write in %s", addr.Zone())
		case ports && addr.Is6():
			return netip.AddrPort{}, ps.errorf(t.offset, "a port is missing: [%s]:PORT", addr)
		case ports:
			return netip.AddrPort{}, ps.errorf(t.offset, "a port is missing: %s:PORT", addr)
		}
		return netip.AddrPortFrom(addr, 0), nil
	}
	end, err := netip.ParseAddrPort(t.text)
	switch {
	case err != nil:
		return end, ps.errorf(t.offset, "%s is no address with a port, such as 192.0.2.80:443 or [2001:db8::80]:443", spelling.Quote(t.text))
	case end.Addr().Zone() != "":
		return end, ps.errorf(t.offset, "an address has no interface here; write in %s", end.Addr().Zone())
	case !ps.p.hasPorts:
		return end, ps.errorf(t.offset, "%s has no ports", application.ProtocolText(ps.p.Proto))
	case !ports:
		return end, ps.errorf(t.offset, "a later fragment has no ports")
	}
	return end, nil
}

// word reads a word and its value.
func (ps *parser) word() error {
	name, err := ps.next("a word")
	if err != nil {
		return err
	}
	read, ok := words[name.text]
	if !ok {
		return ps.errorf(name.offset, "%s", spelling.Unknown("word", name.text, Words()))
	}
	if _, twice := ps.p.given[name.text]; twice {
		return ps.errorf(name.offset, "%s stands twice", name.text)
	}
	value, err := ps.next("the value of " + name.text)
	if err != nil {
		return err
	}
	ps.p.given[name.text] = name
	if err := read(&ps.p, value.text); err != nil {
		return ps.errorf(value.offset, "%s: %v", name.text, err)
	}
	return nil
}

// number reads a number up to most.
func number(text string, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > most {
		return 0, fmt.Errorf("must be a number from 0 to %d, not %s", most, spelling.Quote(text))
	}
	return n, nil
}
