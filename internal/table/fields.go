package table

import (
	"reflect"
	"slices"
	"strings"
)

// structFields are the keys that a struct type takes.
type structFields struct {
	list  []field
	names []string // of those that messages suggest
}

type field struct {
	key   string
	index []int // path of the field
}

func (f *structFields) has(key string) bool {
	return slices.ContainsFunc(f.list, func(known field) bool { return known.key == key })
}

// collect adds the fields of every key that a struct type takes, in the order of the struct. A key of an embedded struct gives
// way to the same key of the struct around it.
func (f *structFields) collect(t reflect.Type, prefix []int) {
	var embedded []reflect.StructField
	for sf := range t.Fields() {
		name, option, _ := strings.Cut(sf.Tag.Get("toml"), ",")
		switch {
		case name == "-":
		case name == "" && sf.Anonymous && structOf(sf.Type) != nil:
			embedded = append(embedded, sf)
		case name != "" && sf.IsExported() && !f.has(name):
			f.list = append(f.list, field{name, append(slices.Clip(prefix), sf.Index...)})
			if option != "unlisted" {
				f.names = append(f.names, name)
			}
		}
	}
	for _, sf := range embedded {
		if sf.Type.Kind() == reflect.Pointer && !sf.IsExported() {
			continue // cannot be set
		}
		f.collect(structOf(sf.Type), append(slices.Clip(prefix), sf.Index...))
	}
}

// structOf returns the struct type that t is or points to, nil otherwise.
func structOf(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Struct {
		return t
	}
	return nil
}

// fieldByIndex returns the field at an index path; it makes the embedded structs that are missing on the way.
func fieldByIndex(v reflect.Value, index []int) reflect.Value {
	for _, i := range index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}
