package table

import (
	"reflect"
	"strconv"
	"time"

	"github.com/rtflow/pipelined/internal/spelling"
)

// Describe names a value as its author would.
func Describe(raw any) string {
	switch v := raw.(type) {
	case string:
		return "the string " + strconv.Quote(spelling.Shorten(v))
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
	case nil:
		return "null"
	}
	return "an array"
}

// IsArray reports whether a value of a tree is an array.
func IsArray(raw any) bool { return raw != nil && reflect.TypeOf(raw).Kind() == reflect.Slice }

// describeType is Describe without the value, for one that is secret.
func describeType(raw any) string {
	switch raw.(type) {
	case string:
		return "a string"
	case int64, float64:
		return "a number"
	case bool:
		return "true or false"
	}
	return Describe(raw) // shows no value
}
