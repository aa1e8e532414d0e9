package table

import (
	"reflect"
	"slices"
	"strings"
)

// structFields are the keys that a struct type takes.
type structFields struct {
	index map[string][]int // paths of their fields
	names []string         // in the order of the struct
}

// fieldsOf returns the keys that a struct type takes.
func (d *Decoder) fieldsOf(t reflect.Type) *structFields {
	f := d.structs[t]
	if f == nil {
		f = &structFields{index: make(map[string][]int)}
		f.names = collectFields(t, nil, f.index, nil)
		if d.structs == nil {
			d.structs = make(map[reflect.Type]*structFields)
		}
		d.structs[t] = f
	}
	return f
}

// collectFields fills fields with the index path of every key that a struct type takes and returns the keys in the order
// of the struct, without those that are unlisted. A key of an embedded struct gives way to the same key of the struct around it.
func collectFields(t reflect.Type, prefix []int, fields map[string][]int, names []string) []string {
	var embedded []reflect.StructField
	for f := range t.Fields() {
		name, option, _ := strings.Cut(f.Tag.Get("toml"), ",")
		switch {
		case name == "-":
		case name == "" && f.Anonymous && structOf(f.Type) != nil:
			embedded = append(embedded, f)
		case name != "" && f.IsExported():
			if _, ok := fields[name]; !ok {
				fields[name] = append(slices.Clip(prefix), f.Index...)
				if option != "unlisted" {
					names = append(names, name)
				}
			}
		}
	}
	for _, f := range embedded {
		if f.Type.Kind() == reflect.Pointer && !f.IsExported() {
			continue // cannot be set
		}
		names = collectFields(structOf(f.Type), append(slices.Clip(prefix), f.Index...), fields, names)
	}
	return names
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
