package config

import (
	"strings"
	"time"
)

// inRange reports whether a value of the table is within its limits, and records that it is not.
func inRange[T int | int64](s *Section, key string, value, low, high T) bool {
	ok := value >= low && value <= high
	if !ok {
		s.Errorf(key, "must be %d to %d, not %d", low, high, value)
	}
	return ok
}

// span returns a duration as people write it: "30m" where Go prints "30m0s".
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
