package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/BurntSushi/toml"
)

var (
	durationType  = reflect.TypeFor[time.Duration]()
	primitiveType = reflect.TypeFor[toml.Primitive]()
	tomlDecoder   = reflect.TypeFor[toml.Unmarshaler]()
	textDecoder   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// decodeTable decodes a section, see [Section.Decode].
func (d *document) decodeTable(s *Section, into any) {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct && v.Elem().Kind() != reflect.Map {
		panic(fmt.Sprintf("config: Decode needs a pointer to a struct or map, not %T", into))
	}
	if v.Elem().Kind() == reflect.Map {
		d.decodeMap(s, v.Elem())
		return
	}
	d.decodeStruct(s, v.Elem())
}

// decodeStruct decodes a table into a struct, key by key.
func (d *document) decodeStruct(s *Section, v reflect.Value) {
	fields := make(map[string][]int)
	names := collectFields(v.Type(), nil, fields, nil)
	for _, key := range s.Keys() {
		index, ok := fields[key]
		switch {
		case ok:
			d.decodeValue(s.values[key], fieldByIndex(v, index), s.at.key(key))
		case !slices.Contains(s.core, key):
			d.report(s.at.key(key), Error, "unknown key; "+d.hint(key, "keys", append(names, s.core...)))
		}
	}
}

// decodeMap decodes a table into a map from its keys.
func (d *document) decodeMap(s *Section, v reflect.Value) {
	if v.Type().Key().Kind() != reflect.String {
		panic(fmt.Sprintf("config: the keys of %s are no strings", v.Type()))
	}
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(v.Type(), len(s.values)))
	}
	for _, key := range s.Keys() {
		if slices.Contains(s.core, key) {
			continue
		}
		k := reflect.ValueOf(key).Convert(v.Type().Key())
		elem := reflect.New(v.Type().Elem()).Elem()
		if old := v.MapIndex(k); old.IsValid() {
			elem.Set(old)
		}
		d.decodeValue(s.values[key], elem, s.at.key(key))
		v.SetMapIndex(k, elem)
	}
}

// decodeValue decodes any value into v, whose type decides how.
func (d *document) decodeValue(p toml.Primitive, v reflect.Value, at cursor) {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		d.decodePointer(p, v, at)
		return
	}
	if decodesItself(t) {
		d.decodeLeaf(p, v, at)
		return
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		if _, ok := d.raw(p).(map[string]any); !ok {
			d.mismatch(at, "a table", d.raw(p))
			return
		}
		s := &Section{doc: d, at: at, values: d.tableOf(p)}
		if t.Kind() == reflect.Map {
			d.decodeMap(s, v)
		} else {
			d.decodeStruct(s, v)
		}
	case reflect.Slice:
		d.decodeSlice(p, v, at)
	default:
		d.decodeLeaf(p, v, at)
	}
}

// decodePointer decodes into what v points to. A nil pointer stays nil if there was a mistake.
func (d *document) decodePointer(p toml.Primitive, v reflect.Value, at cursor) {
	if !v.IsNil() {
		d.decodeValue(p, v.Elem(), at)
		return
	}
	before := d.problems.errors
	elem := reflect.New(v.Type().Elem())
	d.decodeValue(p, elem.Elem(), at)
	if d.problems.errors == before {
		v.Set(elem)
	}
}

// decodeSlice decodes an array, or one value as an array of one.
func (d *document) decodeSlice(p toml.Primitive, v reflect.Value, at cursor) {
	elem := v.Type().Elem()
	raw := d.raw(p)
	if !isArray(raw) {
		if composite(elem) {
			d.mismatch(at, "an array of "+plural(elem), raw)
			return
		}
		list := reflect.MakeSlice(v.Type(), 1, 1)
		d.decodeValue(p, list.Index(0), at)
		v.Set(list)
		return
	}
	items := d.arrayOf(p)
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.decodeValue(item, list.Index(i), at.index(i))
	}
	v.Set(list)
}

// decodeLeaf decodes a value that has no keys and elements of ours: a single value, or one whose type decodes itself.
func (d *document) decodeLeaf(p toml.Primitive, v reflect.Value, at cursor) {
	raw := d.raw(p)
	if want := mismatch(raw, v); want != "" {
		d.mismatch(at, want, raw)
		return
	}
	if err := d.meta.PrimitiveDecode(p, v.Addr().Interface()); err != nil {
		message := err.Error()
		if e, ok := errors.AsType[toml.ParseError](err); ok {
			message = e.Message
		}
		d.report(at, Error, message)
	}
}

// mismatch returns what v takes if that is not raw, "" if it is.
func mismatch(raw any, v reflect.Value) string {
	t := v.Type()
	pt := reflect.PointerTo(t)
	text, isString := raw.(string)
	switch {
	case pt.Implements(tomlDecoder) || t == primitiveType || t.Kind() == reflect.Interface:
		return ""
	case pt.Implements(textDecoder):
		if _, table := raw.(map[string]any); table || isArray(raw) {
			return "a string"
		}
		return ""
	case t == durationType:
		_, err := time.ParseDuration(text)
		return unless(isString && err == nil, `a duration such as "5s" or "10m"`)
	}
	switch t.Kind() {
	case reflect.String:
		return unless(isString, "a string")
	case reflect.Bool:
		_, ok := raw.(bool)
		return unless(ok, "true or false")
	case reflect.Float32, reflect.Float64:
		_, isInt := raw.(int64)
		_, isFloat := raw.(float64)
		return unless(isInt || isFloat, "a number")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, ok := raw.(int64)
		high := int64(math.MaxInt64) >> (64 - t.Bits())
		return unless(ok && !v.OverflowInt(n), integerRange(ok, strconv.FormatInt(-high-1, 10), strconv.FormatInt(high, 10)))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, ok := raw.(int64)
		high := uint64(math.MaxUint64) >> (64 - t.Bits())
		return unless(ok && n >= 0 && !v.OverflowUint(uint64(n)), integerRange(ok, "0", strconv.FormatUint(high, 10)))
	}
	return ""
}

func unless(ok bool, want string) string {
	if ok {
		return ""
	}
	return want
}

// integerRange names the range only to someone who wrote an integer.
func integerRange(isInt bool, low, high string) string {
	if !isInt {
		return "an integer"
	}
	return "an integer from " + low + " to " + high
}

func (d *document) mismatch(at cursor, want string, raw any) {
	d.report(at, Error, "must be "+want+", not "+describe(raw))
}

// raw returns a value as the parser holds it. It must not be changed.
func (d *document) raw(p toml.Primitive) (raw any) {
	d.must(d.meta.PrimitiveDecode(p, &raw))
	return raw
}

// tableOf returns the values of a table.
func (d *document) tableOf(p toml.Primitive) (table map[string]toml.Primitive) {
	d.must(d.meta.PrimitiveDecode(p, &table))
	return table
}

// arrayOf returns the elements of an array.
func (d *document) arrayOf(p toml.Primitive) (items []toml.Primitive) {
	d.must(d.meta.PrimitiveDecode(p, &items))
	return items
}

// must holds where a value is only taken apart: the parser has no reason to refuse.
func (d *document) must(err error) {
	if err != nil {
		panic("config: " + err.Error())
	}
}

func decodesItself(t reflect.Type) bool {
	pt := reflect.PointerTo(t)
	return t == primitiveType || pt.Implements(tomlDecoder) || pt.Implements(textDecoder)
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

func isArray(raw any) bool { return reflect.TypeOf(raw).Kind() == reflect.Slice }

// describe names a value as its author would.
func describe(raw any) string {
	switch v := raw.(type) {
	case string:
		return "the string " + strconv.Quote(shorten(v))
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return "a date or time"
	case map[string]any:
		return "a table"
	}
	return "an array"
}

// shorten keeps a message on one line.
func shorten(s string) string {
	const most = 40
	for i := range s {
		if i >= most {
			return s[:i] + "…"
		}
	}
	return s
}
