package filterlog

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rtflow/pipelined/internal/spelling"
)

// span is a range of numbers, both ends included.
type span struct{ lo, hi uint32 }

// field is a number in a packet as the configuration writes it.
type field struct {
	what  string // for messages
	max   uint32
	names map[string]uint32
}

// Fields and the names that Junos has for their values.
var (
	protocolField   = field{"protocol", 255, protocolNames}
	portField       = field{"port", 65535, portNames}
	dscpField       = field{"DSCP", 63, dscpNames}
	lengthField     = field{"packet length", 65535, nil}
	ttlField        = field{"TTL", 255, nil}
	fragOffsetField = field{"fragment offset", 8191, nil} // in units of eight bytes
	icmpTypeFields  = [2]field{{"ICMP type", 255, icmpTypeNames}, {"ICMPv6 type", 255, icmpv6TypeNames}}
	icmpCodeFields  = [2]field{{"ICMP code", 255, icmpCodeNames}, {"ICMPv6 code", 255, icmpv6CodeNames}}
)

// parse reads a number, a name, or a range of numbers "20-25".
func (f *field) parse(v any) (span, error) {
	switch v := v.(type) {
	case int64:
		if v < 0 || v > int64(f.max) {
			return span{}, f.outside(strconv.FormatInt(v, 10))
		}
		return span{uint32(v), uint32(v)}, nil
	case string:
		return f.parseText(v)
	}
	return span{}, fmt.Errorf("a %s is a number or a string", f.what)
}

func (f *field) parseText(text string) (span, error) {
	if n, ok := f.names[text]; ok {
		return span{n, n}, nil
	}
	if first, last, ok := strings.Cut(text, "-"); ok && digits(first) {
		lo, err := f.number(first)
		if err != nil {
			return span{}, err
		}
		hi, err := f.number(last)
		if err != nil {
			return span{}, err
		}
		if lo > hi {
			return span{}, fmt.Errorf("the range %s ends before it begins", text)
		}
		return span{lo, hi}, nil
	}
	n, err := f.number(text)
	return span{n, n}, err
}

// number reads a decimal number, or a hexadecimal one behind 0x.
func (f *field) number(text string) (uint32, error) {
	if !digits(text) {
		return 0, unknown(f.what, text, slices.Sorted(maps.Keys(f.names)))
	}
	n, ok := parseNumber(text)
	if !ok || n > f.max {
		return 0, f.outside(text)
	}
	return n, nil
}

func (f *field) outside(text string) error {
	return fmt.Errorf("%s is no %s: must be 0 to %d", text, f.what, f.max)
}

// unknown is the error for a word that is none of the names.
func unknown(what, word string, names []string) error {
	return fmt.Errorf("unknown %s %q%s", what, word, spelling.Suggest(word, names))
}

func digits(text string) bool { return text != "" && text[0] >= '0' && text[0] <= '9' }

// parseNumber reads a decimal number, or a hexadecimal one behind 0x.
func parseNumber(text string) (uint32, bool) {
	base := 10
	if hex, ok := strings.CutPrefix(text, "0x"); ok {
		text, base = hex, 16
	}
	n, err := strconv.ParseUint(text, base, 32)
	return uint32(n), err == nil
}

// What follows are the fields as types of their own, so that each reads itself.

type (
	protocol   struct{ span }
	port       struct{ span }
	dscp       struct{ span }
	length     struct{ span }
	ttl        struct{ span }
	fragOffset struct{ span }
)

// UnmarshalTOML implements toml.Unmarshaler.
func (p *protocol) UnmarshalTOML(v any) (err error) { p.span, err = protocolField.parse(v); return err }

// UnmarshalTOML implements toml.Unmarshaler.
func (p *port) UnmarshalTOML(v any) (err error) { p.span, err = portField.parse(v); return err }

// UnmarshalTOML implements toml.Unmarshaler.
func (d *dscp) UnmarshalTOML(v any) (err error) { d.span, err = dscpField.parse(v); return err }

// UnmarshalTOML implements toml.Unmarshaler.
func (l *length) UnmarshalTOML(v any) (err error) { l.span, err = lengthField.parse(v); return err }

// UnmarshalTOML implements toml.Unmarshaler.
func (t *ttl) UnmarshalTOML(v any) (err error) { t.span, err = ttlField.parse(v); return err }

// UnmarshalTOML implements toml.Unmarshaler.
func (o *fragOffset) UnmarshalTOML(v any) (err error) {
	o.span, err = fragOffsetField.parse(v)
	return err
}

// perICMP is a type or code: a number means the same one in ICMP and ICMPv6, a name means what it means in each.
type perICMP struct {
	spans [2]span
	valid [2]bool
}

func (p *perICMP) parse(v any, fields *[2]field) error {
	var errs [2]error
	for i := range fields {
		p.spans[i], errs[i] = fields[i].parse(v)
		p.valid[i] = errs[i] == nil
	}
	if p.valid[0] || p.valid[1] {
		return nil
	}
	if text, ok := v.(string); ok && !digits(text) {
		names := slices.Collect(maps.Keys(fields[0].names))
		for name := range fields[1].names {
			names = append(names, name)
		}
		slices.Sort(names)
		return unknown(fields[0].what, text, names)
	}
	return errs[0]
}

// icmpType and icmpCode are a perICMP that reads itself.
type (
	icmpType struct{ perICMP }
	icmpCode struct{ perICMP }
)

// UnmarshalTOML implements toml.Unmarshaler.
func (t *icmpType) UnmarshalTOML(v any) error { return t.parse(v, &icmpTypeFields) }

// UnmarshalTOML implements toml.Unmarshaler.
func (c *icmpCode) UnmarshalTOML(v any) error { return c.parse(v, &icmpCodeFields) }
