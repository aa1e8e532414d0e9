package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/table"
)

// maxShown is how many characters of a value a change shows.
const maxShown = 80

// shown returns the value of a key as text, "" for a table and for an array of tables.
func shown(key string, v any) string {
	if _, isTable := v.(map[string]any); isTable {
		return ""
	}
	if list := reflect.ValueOf(v); table.IsArray(v) && list.Len() > 0 {
		if _, tables := reflect.TypeAssert[map[string]any](list.Index(0)); tables {
			return ""
		}
	}
	if v = public(key, v); v == secret {
		return secret
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return fmt.Sprint(v) // a number that JSON does not have, such as inf
	}
	text := strings.TrimSuffix(b.String(), "\n")
	if utf8.RuneCountInString(text) > maxShown {
		return string([]rune(text)[:maxShown]) + "…"
	}
	return text
}

// secret stands for a value that is nobody's who reads what has changed: that of a key that holds a token or a password by its name, such a
// variable or option among others, the element behind such an option, and in a URL the password, or the user without one, and such a parameter.
const secret = "(secret)"

var (
	userinfo  = regexp.MustCompile(`(://(?:[^/?#@:\s]*:)?)[^/?#@\s]+@`)
	parameter = regexp.MustCompile(`([?&][^=&#\s]*)=[^&#\s]*`)
	scheme    = regexp.MustCompile(`(?i)^((?:bearer|basic)\s+)\S.*`)
)

// public returns the value of a key without what is secret in it.
func public(key string, v any) any {
	if keypath.Secret(key) {
		return secret
	}
	if text, ok := v.(string); ok {
		return publicText(text)
	}
	if list, ok := plain(v); ok {
		return publicList(list)
	}
	return v
}

// publicList returns the elements of an array without what is secret in them.
func publicList(list []any) []any {
	list = slices.Clone(list)
	named := false // the element before is an option that holds a secret, and this one its value
	for i, e := range list {
		text, ok := e.(string)
		switch {
		case ok && named && !strings.HasPrefix(text, "-"):
			list[i], named = secret, false
		case ok:
			list[i], named = publicText(text), strings.HasPrefix(text, "-") && keypath.Secret(text)
		default:
			named = false
		}
	}
	return list
}

func publicText(text string) string {
	if name, _, ok := strings.Cut(text, "="); ok && !strings.ContainsAny(name, "/?") && keypath.Secret(name) {
		return name + "=" + secret
	}
	text = userinfo.ReplaceAllString(text, "${1}"+secret+"@")
	text = scheme.ReplaceAllString(text, "${1}"+secret)
	return parameter.ReplaceAllStringFunc(text, func(one string) string {
		if name, _, _ := strings.Cut(one, "="); keypath.Secret(name) {
			return name + "=" + secret
		}
		return one
	})
}
