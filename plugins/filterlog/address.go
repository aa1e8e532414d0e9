package filterlog

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/internal/values"
)

// address is one entry of an address condition: "10.0.0.0/8", "10.1.0.0/16 except", or the same as a table.
type address struct {
	prefix netip.Prefix
	except bool
}

// UnmarshalTOML implements toml.Unmarshaler.
func (a *address) UnmarshalTOML(v any) error {
	text, except, err := excepted(v, "prefix")
	if err != nil {
		return err
	}
	a.except = except
	a.prefix, err = values.ParsePrefix(text)
	return err
}

// listName is one entry of a prefix list condition: "bogons", "partners except", or the same as a table.
type listName struct {
	name   string
	except bool
}

// UnmarshalTOML implements toml.Unmarshaler.
func (l *listName) UnmarshalTOML(v any) (err error) {
	l.name, l.except, err = excepted(v, "name")
	return err
}

// excepted reads "TEXT", "TEXT except", or a table with the text at key and perhaps `except`.
func excepted(v any, key string) (text string, except bool, err error) {
	switch v := v.(type) {
	case string:
		words := strings.Fields(v)
		if len(words) == 2 && words[1] == "except" {
			return words[0], true, nil
		}
		if len(words) == 1 {
			return words[0], false, nil
		}
		return "", false, fmt.Errorf("%q is not a %s, nor one with except behind it", v, key)
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			var ok bool
			switch k {
			case key:
				text, ok = v[k].(string)
			case "except":
				except, ok = v[k].(bool)
			default:
				return "", false, fmt.Errorf("unknown key %q; the keys are: %s, except", k, key)
			}
			if !ok {
				return "", false, fmt.Errorf("%s has a wrong type", k)
			}
		}
		if text == "" {
			return "", false, fmt.Errorf("%s is missing", key)
		}
		return text, except, nil
	}
	return "", false, fmt.Errorf("must be a string or a table with the keys %s and except", key)
}
