package translation

import (
	"fmt"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/internal/machine"
)

// Option is the value of `nat` in the table of a source.
type Option bool

// UnmarshalText reads "none" or "conntrack".
func (o *Option) UnmarshalText(text []byte) error {
	switch string(text) {
	case "none":
		*o = false
	case "conntrack":
		*o = true
	default:
		return fmt.Errorf(`want "none" or "conntrack", got %q`, text)
	}
	return nil
}

// Translator returns what opens the translator that the option asks for; nil for none.
func (o Option) Translator() func() (source.Translator, error) {
	if !o {
		return nil
	}
	return func() (source.Translator, error) {
		k, err := Open()
		if err != nil {
			return nil, err
		}
		return k, nil
	}
}

// Examine finds out whether the translator that the option asks for, if any, could be opened.
func (o Option) Examine(m *machine.Machine) []machine.Finding {
	if !o {
		return nil
	}
	p := &machine.Part{Name: `nat = "conntrack"`, Needed: true}
	ctnetlink.Examine(m, p)
	return p.Findings
}
