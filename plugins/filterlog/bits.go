package filterlog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// bitSet is what a bit-field expression means: bit v is set if the field's value v satisfies it. Fields have at most six
// bits, so that an expression of any size is one word, and one shift to ask.
type bitSet uint64

// bitField is a field that expressions are about.
type bitField struct {
	what  string
	names []string // of the bits, lowest first
	shift uint     // numbers name the bits this far to the left
	extra map[string]bitSet
}

var (
	tcpFlagField  = bitField{what: "TCP flag", names: tcpFlagNames[:]}
	fragFlagField = bitField{
		what:  "fragment flag",
		names: fragFlagNames[:],
		shift: 13, // numbers are those of the 16-bit word in the IPv4 header: 0x2000, 0x4000, 0x8000
		extra: map[string]bitSet{"may-fragment": 0b00110011},
	}
)

// Meaning of tcp-initial and tcp-established: "(!ack & syn)" and "(ack | rst)".
var (
	tcpInitial     = tcpFlagField.bit(1) &^ tcpFlagField.bit(4)
	tcpEstablished = tcpFlagField.bit(4) | tcpFlagField.bit(2)
)

// all is the set of all values of the field.
func (f *bitField) all() bitSet { return 1<<(1<<len(f.names)) - 1 }

// bit is the set of values with bit i.
func (f *bitField) bit(i int) (set bitSet) {
	for v := range 1 << len(f.names) {
		if v>>i&1 == 1 {
			set |= 1 << v
		}
	}
	return set
}

// Limits of an expression. Nobody writes one that comes near.
const (
	maxExpression = 500 // bytes
	maxNesting    = 50
)

// parse reads an expression. From high to low precedence: ( ), !, & or +, | or comma. A number stands for all of its
// bits.
func (f *bitField) parse(v any) (bitSet, error) {
	if n, ok := v.(int64); ok {
		return f.number(n)
	}
	text, ok := v.(string)
	if !ok {
		return 0, fmt.Errorf("%ss are a string such as %q", f.what, f.names[0]+" & !"+f.names[1])
	}
	if len(text) > maxExpression {
		return 0, fmt.Errorf("an expression has at most %d characters", maxExpression)
	}
	p := bitParser{field: f, rest: text}
	set, err := p.or()
	if err == nil && p.rest != "" {
		err = fmt.Errorf("unexpected %q", p.rest)
	}
	if err != nil {
		return 0, fmt.Errorf("%q: %w", text, err)
	}
	return set, nil
}

func (f *bitField) number(n int64) (bitSet, error) {
	bits := n >> f.shift
	if most := int64(1)<<len(f.names) - 1; bits<<f.shift != n || bits < 1 || bits > most {
		return 0, fmt.Errorf("%#x is no set of %ss: its bits must be in %#x", n, f.what, most<<f.shift)
	}
	set := f.all()
	for i := range f.names {
		if bits>>i&1 == 1 {
			set &= f.bit(i)
		}
	}
	return set, nil
}

// bitParser reads an expression from left to right.
type bitParser struct {
	field *bitField
	rest  string
	depth int
}

// accept skips blanks and takes one of the characters if it is next.
func (p *bitParser) accept(chars string) bool {
	p.rest = strings.TrimLeft(p.rest, " \t")
	if p.rest == "" || !strings.Contains(chars, p.rest[:1]) {
		return false
	}
	p.rest = strings.TrimLeft(p.rest[1:], " \t")
	return true
}

func (p *bitParser) or() (bitSet, error) {
	set, err := p.and()
	for err == nil && p.accept("|,") {
		var right bitSet
		right, err = p.and()
		set |= right
	}
	return set, err
}

func (p *bitParser) and() (bitSet, error) {
	set, err := p.operand()
	for err == nil && p.accept("&+") {
		var right bitSet
		right, err = p.operand()
		set &= right
	}
	return set, err
}

func (p *bitParser) operand() (bitSet, error) {
	if p.depth++; p.depth > maxNesting {
		return 0, fmt.Errorf("more than %d levels", maxNesting)
	}
	defer func() { p.depth-- }()
	switch {
	case p.accept("!"):
		set, err := p.operand()
		return p.field.all() &^ set, err
	case p.accept("("):
		set, err := p.or()
		if err == nil && !p.accept(")") {
			err = errors.New("missing )")
		}
		return set, err
	}
	end := strings.IndexAny(p.rest, " \t()!&+|,")
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = strings.TrimLeft(p.rest[end:], " \t")
	return p.field.word(word)
}

// word reads a name or a number.
func (f *bitField) word(word string) (bitSet, error) {
	if word == "" {
		return 0, fmt.Errorf("a %s is missing", f.what)
	}
	for i, name := range f.names {
		if name == word {
			return f.bit(i), nil
		}
	}
	if set, ok := f.extra[word]; ok {
		return set, nil
	}
	if n, ok := parseNumber(word); ok {
		return f.number(int64(n))
	}
	return 0, unknown(f.what, word, append(slices.Sorted(maps.Keys(f.extra)), f.names...))
}

// tcpFlags and fragFlags are a bitSet that reads itself.
type (
	tcpFlags  struct{ set bitSet }
	fragFlags struct{ set bitSet }
)

// UnmarshalTOML implements toml.Unmarshaler.
func (t *tcpFlags) UnmarshalTOML(v any) (err error) { t.set, err = tcpFlagField.parse(v); return err }

// UnmarshalTOML implements toml.Unmarshaler.
func (t *fragFlags) UnmarshalTOML(v any) (err error) { t.set, err = fragFlagField.parse(v); return err }
