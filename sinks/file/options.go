package file

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rtflow/pipelined/internal/options"
	"github.com/rtflow/pipelined/internal/values"
)

// table is the table of a file sink.
type table struct {
	options.Format
	Path         string        `toml:"path"`
	Rotate       rotateOptions `toml:"rotate"`
	Sync         syncMode      `toml:"sync"`
	SyncInterval time.Duration `toml:"sync_interval"`
	Mode         values.Mode   `toml:"mode"`
	Owner        string        `toml:"owner"`
	Group        string        `toml:"group"`
	Shared       bool          `toml:"shared_directory"`
}

// rotateOptions says when a file is closed under another name, and what becomes of it. Zero values: never, never, all, for ever,
// nothing.
type rotateOptions struct {
	Size     values.Size `toml:"size"`
	Interval interval    `toml:"interval"`
	Keep     int         `toml:"keep"`
	MaxAge   age         `toml:"max_age"`
	Compress compression `toml:"compress"`
}

// syncMode says when a record is acknowledged.
type syncMode uint8

const (
	syncNone     syncMode = iota // when the kernel has it
	syncInterval                 // when it is on the disk, which is made so every now and then
	syncBatch                    // when it is on the disk, which is made so after every write
)

func (m *syncMode) UnmarshalText(text []byte) error {
	switch string(text) {
	case "none":
		*m = syncNone
	case "interval":
		*m = syncInterval
	case "batch":
		*m = syncBatch
	default:
		return fmt.Errorf(`want "none", "interval" or "batch", got %q`, text)
	}
	return nil
}

// interval is a duration, "hourly" or "daily".
type interval time.Duration

func (i *interval) UnmarshalText(text []byte) error {
	switch string(text) {
	case "hourly":
		*i = interval(time.Hour)
		return nil
	case "daily":
		*i = interval(24 * time.Hour)
		return nil
	}
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf(`want "hourly", "daily" or a duration such as "6h", got %q`, text)
	}
	*i = interval(v)
	return nil
}

// age is a duration, or a number of days: "30d".
type age time.Duration

func (a *age) UnmarshalText(text []byte) error {
	const day = 24 * time.Hour
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err == nil {
			*a = age(time.Duration(n) * day)
			return nil
		}
	}
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf(`want days such as "30d", or a duration such as "36h", got %q`, text)
	}
	*a = age(v)
	return nil
}
