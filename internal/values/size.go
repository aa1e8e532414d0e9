package values

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rtflow/pipelined/internal/spelling"
)

// Size is a number of bytes: "256MB" (10^6) or "256MiB" (2^20).
type Size int64

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	units := []struct {
		suffix string
		factor int64
	}{ // a suffix of another one comes after it
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
	}
	digits, factor := string(text), int64(1)
	for _, u := range units {
		if before, ok := strings.CutSuffix(digits, u.suffix); ok {
			digits, factor = strings.TrimSpace(before), u.factor
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<63-1)/factor {
		return fmt.Errorf(`want a size such as "256MB" or "1GiB", got %s`, spelling.Quote(string(text)))
	}
	*s = Size(n * factor)
	return nil
}
