package table

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
)

// leaf decodes a value that has no keys and elements of ours: a single value, or one whose type decodes itself.
func (d *Decoder) leaf(raw any, v reflect.Value, syntax syntax) {
	if want, ok := takes(raw, v, syntax); !ok {
		d.mismatch(want, raw)
		return
	}
	if err := set(raw, v, syntax); err != nil {
		d.report(err.Error())
	}
}

// takes returns what v takes, in words, and whether raw is that.
func takes(raw any, v reflect.Value, syntax syntax) (want string, ok bool) {
	t := v.Type()
	text, isString := raw.(string)
	switch syntax {
	case ownSyntax:
		return "", true
	case timeSyntax:
		_, ok := raw.(time.Time)
		if _, err := time.Parse(time.RFC3339Nano, text); isString && err == nil {
			ok = true // as JSON has it
		}
		return "a date or time", ok
	case textSyntax:
		_, table := raw.(map[string]any)
		return "a string", !table && !IsArray(raw)
	case durationSyntax:
		_, err := time.ParseDuration(text)
		return `a duration such as "5s" or "10m"`, isString && err == nil
	}
	switch t.Kind() {
	case reflect.String:
		return "a string", isString
	case reflect.Bool:
		_, ok := raw.(bool)
		return "true or false", ok
	case reflect.Float32, reflect.Float64:
		_, isInt := raw.(int64)
		_, isFloat := raw.(float64)
		return "a number", isInt || isFloat
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, ok := raw.(int64)
		high := int64(math.MaxInt64) >> (64 - t.Bits())
		return integerRange(ok, strconv.FormatInt(-high-1, 10), strconv.FormatInt(high, 10)), ok && !v.OverflowInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, ok := raw.(int64)
		high := uint64(math.MaxUint64) >> (64 - t.Bits())
		return integerRange(ok, "0", strconv.FormatUint(high, 10)), ok && n >= 0 && !v.OverflowUint(uint64(n))
	}
	return "", true
}

// integerRange names the range only to someone who wrote an integer.
func integerRange(isInt bool, low, high string) string {
	if !isInt {
		return "an integer"
	}
	return "an integer from " + low + " to " + high
}

// set sets v to a value that it takes.
func set(raw any, v reflect.Value, syntax syntax) error {
	switch syntax {
	case ownSyntax:
		return v.Addr().Interface().(tomlDecoder).UnmarshalTOML(raw)
	case timeSyntax:
		at, ok := raw.(time.Time)
		if !ok {
			var err error
			if at, err = time.Parse(time.RFC3339Nano, raw.(string)); err != nil {
				return err
			}
		}
		v.Set(reflect.ValueOf(at))
		return nil
	case textSyntax:
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(textOf(raw)))
	case durationSyntax:
		span, err := time.ParseDuration(raw.(string))
		v.SetInt(int64(span))
		return err
	}
	switch r := raw.(type) {
	case int64:
		switch {
		case v.CanInt():
			v.SetInt(r)
		case v.CanUint():
			v.SetUint(uint64(r))
		case v.CanFloat():
			v.SetFloat(float64(r))
		default:
			v.Set(reflect.ValueOf(raw))
		}
	case float64:
		if v.CanFloat() {
			if v.OverflowFloat(r) {
				return fmt.Errorf("%s is out of range for %s", Describe(raw), v.Kind())
			}
			v.SetFloat(r)
		} else {
			v.Set(reflect.ValueOf(raw))
		}
	case string:
		if v.Kind() == reflect.String {
			v.SetString(r)
		} else {
			v.Set(reflect.ValueOf(raw))
		}
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(r)
		} else {
			v.Set(reflect.ValueOf(raw))
		}
	case nil: // JSON's null
	default:
		v.Set(reflect.ValueOf(raw))
	}
	return nil
}

// textOf returns a single value as its author wrote it.
func textOf(raw any) string {
	switch r := raw.(type) {
	case string:
		return r
	case time.Time:
		return r.Format(time.RFC3339Nano)
	}
	return Describe(raw)
}
