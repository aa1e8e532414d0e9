package table

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/spelling"
)

// tomlDecoder is what BurntSushi/toml calls an Unmarshaler.
type tomlDecoder interface{ UnmarshalTOML(value any) error }

var (
	durationType    = reflect.TypeFor[time.Duration]()
	timeType        = reflect.TypeFor[time.Time]()
	tomlDecoderType = reflect.TypeFor[tomlDecoder]()
	textDecoderType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// Decoder decodes tables. A tree holds what TOML and JSON know: string, bool, int64, float64, time.Time, slices and
// map[string]any.
type Decoder struct {
	// Report records a mistake at a key below the table: "term[2].from". It is called for every one.
	Report func(key, message string)
	// Keys returns the keys of a table in the order they are read; nil sorts them.
	Keys func(key string, table map[string]any) []string
	// Hint words what follows "unknown key; "; nil is [spelling.Hint].
	Hint func(name, plural string, valid []string) string
	// Others are keys of the outermost table that are somebody else's: valid, and not read.
	Others []string

	mistakes int
	structs  map[reflect.Type]*structFields // found so far: a list has thousands of tables of one type
}

// Decode reads the table into the struct or map that into points to, and reports whether there was no mistake. Keys are
// compared exactly with the fields' `toml` tags; a field without a tag is not read, an embedded struct without a tag is part
// of the one around it. A key whose tag ends in ",unlisted" is read, and messages do not suggest it. A time.Duration is
// written as a string, "5s". Where a list of single values is wanted, one value does as well. Types with UnmarshalTOML or
// UnmarshalText decode themselves.
//
// A table's values go on top of what the struct holds; a list replaces the one it holds. A nil pointer stays nil if the
// table does not set it or sets it to something wrong.
//
// Decode panics if into is no pointer to a struct or map: that is a mistake in the program.
func (d *Decoder) Decode(tree map[string]any, into any) bool {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct && v.Elem().Kind() != reflect.Map {
		panic(fmt.Sprintf("table: Decode needs a pointer to a struct or map, not %T", into))
	}
	before := d.mistakes
	d.table("", tree, v.Elem(), d.Others)
	return d.mistakes == before
}

func (d *Decoder) report(key, message string) {
	d.mistakes++
	d.Report(key, message)
}

func (d *Decoder) keys(key string, tree map[string]any) []string {
	if d.Keys != nil {
		return d.Keys(key, tree)
	}
	return slices.Sorted(maps.Keys(tree))
}

func (d *Decoder) hint(name string, valid []string) string {
	if d.Hint != nil {
		return d.Hint(name, "keys", valid)
	}
	return spelling.Hint(name, "keys", valid)
}

// table decodes into a struct or a map.
func (d *Decoder) table(at string, tree map[string]any, v reflect.Value, others []string) {
	if v.Kind() == reflect.Map {
		d.mapping(at, tree, v, others)
		return
	}
	fields := d.fieldsOf(v.Type())
	for _, key := range d.keys(at, tree) {
		index, ok := fields.index[key]
		switch {
		case ok:
			d.value(keypath.Join(at, key), tree[key], fieldByIndex(v, index))
		case !slices.Contains(others, key):
			d.report(keypath.Join(at, key), "unknown key; "+d.hint(key, slices.Concat(fields.names, others)))
		}
	}
}

func (d *Decoder) mapping(at string, tree map[string]any, v reflect.Value, others []string) {
	if v.Type().Key().Kind() != reflect.String {
		panic(fmt.Sprintf("table: the keys of %s are no strings", v.Type()))
	}
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(v.Type(), len(tree)))
	}
	for _, key := range d.keys(at, tree) {
		if slices.Contains(others, key) {
			continue
		}
		k := reflect.ValueOf(key).Convert(v.Type().Key())
		elem := reflect.New(v.Type().Elem()).Elem()
		if old := v.MapIndex(k); old.IsValid() {
			elem.Set(old)
		}
		d.value(keypath.Join(at, key), tree[key], elem)
		v.SetMapIndex(k, elem)
	}
}

// value decodes any value into v, whose type decides how.
func (d *Decoder) value(at string, raw any, v reflect.Value) {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		d.pointer(at, raw, v)
		return
	}
	if decodesItself(t) {
		d.leaf(at, raw, v)
		return
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		if tree, ok := raw.(map[string]any); ok {
			d.table(at, tree, v, nil)
		} else {
			d.mismatch(at, "a table", raw)
		}
	case reflect.Slice:
		d.slice(at, raw, v)
	default:
		d.leaf(at, raw, v)
	}
}

// pointer decodes into what v points to. A nil pointer stays nil if there was a mistake.
func (d *Decoder) pointer(at string, raw any, v reflect.Value) {
	if !v.IsNil() {
		d.value(at, raw, v.Elem())
		return
	}
	before := d.mistakes
	elem := reflect.New(v.Type().Elem())
	d.value(at, raw, elem.Elem())
	if d.mistakes == before {
		v.Set(elem)
	}
}

// slice decodes an array, or one value as an array of one.
func (d *Decoder) slice(at string, raw any, v reflect.Value) {
	elem := v.Type().Elem()
	if !IsArray(raw) {
		if composite(elem) {
			d.mismatch(at, "an array of "+plural(elem), raw)
			return
		}
		list := reflect.MakeSlice(v.Type(), 1, 1)
		d.value(at, raw, list.Index(0))
		v.Set(list)
		return
	}
	items := reflect.ValueOf(raw)
	list := reflect.MakeSlice(v.Type(), items.Len(), items.Len())
	for i := range items.Len() {
		d.value(keypath.Element(at, i), items.Index(i).Interface(), list.Index(i))
	}
	v.Set(list)
}

func (d *Decoder) mismatch(at, want string, raw any) {
	d.report(at, "must be "+want+", not "+Describe(raw))
}

func decodesItself(t reflect.Type) bool {
	pt := reflect.PointerTo(t)
	return t == timeType || pt.Implements(tomlDecoderType) || pt.Implements(textDecoderType)
}

// composite reports whether a value of the type is written as a table or an array.
func composite(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return !decodesItself(t) && (t.Kind() == reflect.Struct || t.Kind() == reflect.Map || t.Kind() == reflect.Slice)
}

func plural(t reflect.Type) string {
	if t.Kind() == reflect.Slice {
		return "arrays"
	}
	return "tables"
}
