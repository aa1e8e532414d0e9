package translation

import (
	"fmt"

	"github.com/rtflow/pipelined/core/source"
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
