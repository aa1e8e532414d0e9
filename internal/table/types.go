package table

import (
	"encoding"
	"reflect"
	"time"
)

// Types remembers how values of Go types are written, for decoders of many tables. Its zero value is ready. Not safe for
// concurrent use.
type Types struct {
	structs map[reflect.Type]*structFields
	syntax  map[reflect.Type]syntax
}

// syntax is how a value of a type is written.
type syntax uint8

const (
	plainSyntax    syntax = iota // a single value
	pointerSyntax                // as what it points to
	tableSyntax                  // a table of ours: a struct or a map
	arraySyntax                  // an array of ours
	ownSyntax                    // the type takes any value
	textSyntax                   // a string that the type reads
	timeSyntax                   // a date or time
	durationSyntax               // a string such as "5s"
)

// tomlDecoder is what BurntSushi/toml calls an Unmarshaler.
type tomlDecoder interface{ UnmarshalTOML(value any) error }

var (
	durationType    = reflect.TypeFor[time.Duration]()
	timeType        = reflect.TypeFor[time.Time]()
	tomlDecoderType = reflect.TypeFor[tomlDecoder]()
	textDecoderType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// syntaxOf returns how a value of a type is written.
func (t *Types) syntaxOf(of reflect.Type) syntax {
	s, ok := t.syntax[of]
	if !ok {
		s = findSyntax(of)
		if t.syntax == nil {
			t.syntax = make(map[reflect.Type]syntax)
		}
		t.syntax[of] = s
	}
	return s
}

func findSyntax(t reflect.Type) syntax {
	pointer := reflect.PointerTo(t)
	switch {
	case t.Kind() == reflect.Pointer:
		return pointerSyntax
	case pointer.Implements(tomlDecoderType):
		return ownSyntax
	case t == timeType:
		return timeSyntax
	case pointer.Implements(textDecoderType):
		return textSyntax
	case t == durationType:
		return durationSyntax
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return tableSyntax
	case reflect.Slice:
		return arraySyntax
	}
	return plainSyntax
}

// fieldsOf returns the keys that a struct type takes.
func (t *Types) fieldsOf(of reflect.Type) *structFields {
	f := t.structs[of]
	if f == nil {
		f = new(structFields)
		f.collect(of, nil)
		if t.structs == nil {
			t.structs = make(map[reflect.Type]*structFields)
		}
		t.structs[of] = f
	}
	return f
}
