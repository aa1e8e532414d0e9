package filterlog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/internal/spelling"
)

// actionKind is one of the actions of a term.
type actionKind uint8

const (
	modifier actionKind = iota // decides nothing: count, log, syslog
	accept
	discard
	reject
	resetTCP // reject, and TCP with a reset
	nextTerm
)

// action is one entry of `then`.
type action struct {
	kind    actionKind
	log     bool
	counter string // "" = none
}

func (a action) decides() bool { return a.kind != modifier }

var actionNames = []string{"accept", "count NAME", "discard", "log", "next term", "reject", "reject tcp-reset", "syslog"}

// UnmarshalTOML implements toml.Unmarshaler.
func (a *action) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case string:
		return a.parse(v)
	case map[string]any:
		name, ok := v["count"].(string)
		if keys := slices.Sorted(maps.Keys(v)); len(keys) != 1 || !ok || name == "" {
			return fmt.Errorf(`an action that is a table is { count = "NAME" }, not one with the keys %s`, strings.Join(keys, ", "))
		}
		a.counter = name
		return nil
	}
	return errors.New("an action is a string")
}

func (a *action) parse(text string) error {
	words := strings.Fields(text)
	switch strings.Join(words, " ") {
	case "accept":
		a.kind = accept
	case "discard":
		a.kind = discard
	case "reject":
		a.kind = reject
	case "reject tcp-reset":
		a.kind = resetTCP
	case "next term":
		a.kind = nextTerm
	case "log", "syslog":
		a.log = true
	case "count":
		return errors.New(`count needs the name of a counter: "count NAME"`)
	default:
		if len(words) == 2 && words[0] == "count" {
			a.counter = words[1]
			return nil
		}
		return fmt.Errorf("unknown action %q; %s", text, spelling.Hint(text, "actions", actionNames))
	}
	return nil
}
