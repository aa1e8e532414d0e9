package application

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Protocol is a protocol as a configuration writes it: "tcp", 6 or "6".
type Protocol struct {
	Text string // as written, "" if the key is absent
}

// UnmarshalTOML reads a name or a number. Whether there is such a protocol is for [Table.With] to say, which can suggest
// one.
func (p *Protocol) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case string:
		p.Text = v
	case int64:
		p.Text = strconv.FormatInt(v, 10)
	default:
		return fmt.Errorf("%v is not a protocol; want a name such as \"tcp\" or a number", v)
	}
	if p.Text == "" {
		return fmt.Errorf("\"\" is not a protocol; want a name such as \"tcp\" or a number")
	}
	return nil
}

// maxRanges bounds a list of ports: an application has a term for every pair of a source and a destination range.
const maxRanges = 64

// Ports are ranges of ports as a configuration writes them: 80, "80", "8000-8080", or a list of such. nil means that the
// key is absent.
type Ports []Range

// UnmarshalTOML reads one range or a list of ranges. An empty list is an error: it would match nothing, and read as if it
// matched everything.
func (p *Ports) UnmarshalTOML(v any) error {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if len(list) == 0 {
		return fmt.Errorf("an empty list of ports matches nothing; leave the key out for every port")
	}
	if len(list) > maxRanges {
		return fmt.Errorf("%d ranges of ports, at most %d", len(list), maxRanges)
	}
	*p = make(Ports, 0, len(list))
	for _, v := range list {
		r, err := parseRange(v)
		if err != nil {
			return err
		}
		*p = append(*p, r)
	}
	return nil
}

// orAny returns the ranges, every port if there are none.
func (p Ports) orAny() []Range {
	if p == nil {
		return []Range{AnyPort()}
	}
	return p
}

func parseRange(v any) (Range, error) {
	switch v := v.(type) {
	case int64:
		if v < 0 || v > math.MaxUint16 {
			return Range{}, fmt.Errorf("port %d is not within 0 to 65535", v)
		}
		return Range{uint16(v), uint16(v)}, nil
	case string:
		first, last, isRange := strings.Cut(v, "-")
		lo, err := parsePort(first)
		if err != nil {
			return Range{}, err
		}
		if !isRange {
			return Range{lo, lo}, nil
		}
		hi, err := parsePort(last)
		if err != nil {
			return Range{}, err
		}
		if hi < lo {
			return Range{}, fmt.Errorf("the range of ports %q ends before it begins", v)
		}
		return Range{lo, hi}, nil
	default:
		return Range{}, fmt.Errorf("%v is not a port; want a number or a range such as \"8000-8080\"", v)
	}
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a port; want a number within 0 to 65535 or a range such as \"8000-8080\"", s)
	}
	return uint16(n), nil
}

// Never is a timeout that does not come.
const Never = math.MaxUint32

// Timeout is an inactivity timeout in seconds as a configuration writes it: 300, "5m" or "never". 0 means that the key is
// absent; [Never] is "never".
type Timeout uint32

// UnmarshalTOML reads seconds, a duration of whole seconds, or "never".
func (t *Timeout) UnmarshalTOML(v any) error {
	var seconds int64
	switch v := v.(type) {
	case int64:
		seconds = v
	case string:
		if v == "never" {
			*t = Never
			return nil
		}
		d, err := time.ParseDuration(v)
		if err != nil || d%time.Second != 0 {
			return fmt.Errorf("%q is not a timeout; want whole seconds, a duration such as \"5m\", or \"never\"", v)
		}
		seconds = int64(d / time.Second)
	default:
		return fmt.Errorf("%v is not a timeout; want whole seconds, a duration such as \"5m\", or \"never\"", v)
	}
	if seconds < 1 || seconds >= Never {
		return fmt.Errorf("a timeout of %d seconds is not within 1 to %d; write \"never\" for none", seconds, uint32(Never-1))
	}
	*t = Timeout(seconds)
	return nil
}
