package table

import (
	"strings"
	"time"
)

// Section is a table of the configuration as the package that owns its options reads it: an sdk.Config that tells, too,
// what is set. The core's options are read from it; a plugin gets an sdk.Config.
type Section interface {
	Name() string
	Has(key string) bool
	Decode(into any) bool
	Errorf(key, format string, args ...any)
	Warnf(key, format string, args ...any)
}

// InRange reports whether a number is within its limits, both included, and records a mistake at its key if not.
func InRange[T int | int64](s Section, key string, value, low, high T) bool {
	if value >= low && value <= high {
		return true
	}
	s.Errorf(key, "must be %d to %d, not %d", low, high, value)
	return false
}

// DurationInRange is [InRange] for a duration.
func DurationInRange(s Section, key string, value, low, high time.Duration) bool {
	if value >= low && value <= high {
		return true
	}
	s.Errorf(key, "must be %s to %s, not %s", FormatDuration(low), FormatDuration(high), FormatDuration(value))
	return false
}

// FormatDuration returns a duration as people write it: "30m" where Go prints "30m0s".
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
