package table

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/spelling"
)

// Decoder decodes tables. A tree holds what TOML and JSON know: string, bool, int64, float64, time.Time, slices and
// map[string]any.
type Decoder struct {
	// Report records a mistake at a key below the table: "term[2].from". It is called for every one.
	Report func(key, message string)
	// Keys returns the keys of a table in the order in which a map gets them and unknown ones are reported; nil sorts them. The
	// keys of a struct are read in the order of its fields.
	Keys func(key string, table map[string]any) []string
	// Hint words what follows "unknown key; "; nil is [spelling.Hint].
	Hint func(name, plural string, valid []string) string
	// Others are keys of the outermost table that are somebody else's: valid, and not read.
	Others []string
	// Types remembers the types between decoders; nil is for this one alone.
	Types *Types

	mistakes int
	path     []keypath.Part // of the value that is read
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
	if d.Types == nil {
		d.Types = new(Types)
	}
	before := d.mistakes
	d.table(tree, v.Elem(), d.Others)
	return d.mistakes == before
}

// report records a mistake of the value that is read.
func (d *Decoder) report(message string) {
	d.mistakes++
	d.Report(keypath.Format(d.path), message)
}

func (d *Decoder) keys(tree map[string]any) []string {
	if d.Keys != nil {
		return d.Keys(keypath.Format(d.path), tree)
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
func (d *Decoder) table(tree map[string]any, v reflect.Value, others []string) {
	if v.Kind() == reflect.Map {
		d.mapping(tree, v, others)
		return
	}
	fields := d.Types.fieldsOf(v.Type())
	known := 0
	d.path = append(d.path, keypath.Part{})
	last := len(d.path) - 1
	for i := range fields.list {
		f := &fields.list[i]
		if raw, ok := tree[f.key]; ok {
			known++
			d.path[last].Key = f.key
			d.value(raw, fieldByIndex(v, f.index))
		}
	}
	d.path = d.path[:last]
	if known < len(tree) {
		d.unknown(tree, fields, others)
	}
}

// unknown reports the keys of a table that are neither of a field nor among the others.
func (d *Decoder) unknown(tree map[string]any, fields *structFields, others []string) {
	for _, key := range d.keys(tree) {
		if fields.has(key) || slices.Contains(others, key) {
			continue
		}
		d.path = append(d.path, keypath.Part{Key: key})
		d.report("unknown key; " + d.hint(key, slices.Concat(fields.names, others)))
		d.path = d.path[:len(d.path)-1]
	}
}

func (d *Decoder) mapping(tree map[string]any, v reflect.Value, others []string) {
	if v.Type().Key().Kind() != reflect.String {
		panic(fmt.Sprintf("table: the keys of %s are no strings", v.Type()))
	}
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(v.Type(), len(tree)))
	}
	keys := d.keys(tree)
	d.path = append(d.path, keypath.Part{})
	last := len(d.path) - 1
	for _, key := range keys {
		if slices.Contains(others, key) {
			continue
		}
		k := reflect.ValueOf(key).Convert(v.Type().Key())
		elem := reflect.New(v.Type().Elem()).Elem()
		if old := v.MapIndex(k); old.IsValid() {
			elem.Set(old)
		}
		d.path[last].Key = key
		d.value(tree[key], elem)
		v.SetMapIndex(k, elem)
	}
	d.path = d.path[:last]
}

// value decodes any value into v, whose type decides how.
func (d *Decoder) value(raw any, v reflect.Value) {
	switch syntax := d.Types.syntaxOf(v.Type()); syntax {
	case pointerSyntax:
		d.pointer(raw, v)
	case tableSyntax:
		if tree, ok := raw.(map[string]any); ok {
			d.table(tree, v, nil)
		} else {
			d.mismatch("a table", raw)
		}
	case arraySyntax:
		d.slice(raw, v)
	default:
		d.leaf(raw, v, syntax)
	}
}

// pointer decodes into what v points to. A nil pointer stays nil if there was a mistake.
func (d *Decoder) pointer(raw any, v reflect.Value) {
	if !v.IsNil() {
		d.value(raw, v.Elem())
		return
	}
	before := d.mistakes
	elem := reflect.New(v.Type().Elem())
	d.value(raw, elem.Elem())
	if d.mistakes == before {
		v.Set(elem)
	}
}

// slice decodes an array, or one value as an array of one.
func (d *Decoder) slice(raw any, v reflect.Value) {
	elem := v.Type().Elem()
	if !IsArray(raw) {
		if d.composite(elem) {
			d.mismatch("an array of "+plural(elem), raw)
			return
		}
		list := reflect.MakeSlice(v.Type(), 1, 1)
		d.value(raw, list.Index(0))
		v.Set(list)
		return
	}
	items := reflect.ValueOf(raw)
	list := reflect.MakeSlice(v.Type(), items.Len(), items.Len())
	d.path = append(d.path, keypath.Part{Element: true})
	last := len(d.path) - 1
	for i := range items.Len() {
		d.path[last].Index = i
		d.value(items.Index(i).Interface(), list.Index(i))
	}
	d.path = d.path[:last]
	v.Set(list)
}

func (d *Decoder) mismatch(want string, raw any) {
	what := Describe(raw)
	if keypath.Secret(keypath.Format(d.path)) {
		what = describeType(raw)
	}
	d.report("must be " + want + ", not " + what)
}

// composite reports whether a value of the type is written as a table or an array.
func (d *Decoder) composite(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	syntax := d.Types.syntaxOf(t)
	return syntax == tableSyntax || syntax == arraySyntax
}

func plural(t reflect.Type) string {
	if t.Kind() == reflect.Slice {
		return "arrays"
	}
	return "tables"
}
