package spool

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/table"
	"github.com/rtflow/pipelined/internal/values"
)

// Options is the table `spool` of a sink.
type Options struct {
	// Size is how much the files of the spool take at most, in bytes.
	Size values.Size `toml:"size"`
	// Path is the directory; "" stands for one in service.state.
	Path string `toml:"path"`
	// Sync says when a record is safe, and its ring acknowledged.
	Sync Sync `toml:"sync"`
	// Interval is the longest time between two syncs of SyncInterval.
	Interval time.Duration `toml:"sync_interval"`
	// MinFree is how many bytes of the file system are left to others.
	MinFree values.Size `toml:"min_free"`
}

// Limits of options.
const (
	MinSize     = 16 << 20
	MinInterval = 10 * time.Millisecond
	MaxInterval = time.Minute
)

// Sync says where a record is when the ring is told that the spool has it.
type Sync uint8

// Values of Sync.
const (
	SyncInterval Sync = iota // with the kernel, which is told every Interval to put it on the disk
	SyncNone                 // with the kernel, which puts it on the disk when it likes
	SyncBatch                // on the disk
)

var syncNames = [...]string{"interval", "none", "batch"}

// String returns the setting as it stands in the configuration.
func (s Sync) String() string { return syncNames[s] }

// UnmarshalText reads a setting.
func (s *Sync) UnmarshalText(text []byte) error {
	for i, name := range syncNames {
		if string(text) == name {
			*s = Sync(i)
			return nil
		}
	}
	return fmt.Errorf(`must be "none", "interval" or "batch", not %s`, spelling.Quote(string(text)))
}

// DefaultOptions returns the options that hold where a table sets none. It has no size: that is for its author to say.
func DefaultOptions() Options {
	return Options{Sync: SyncInterval, Interval: time.Second, MinFree: 100e6}
}

// ReadOptions reads the table, and records its mistakes.
func ReadOptions(s table.Section) Options {
	o := DefaultOptions()
	s.Decode(&o)
	switch {
	case !s.Has("size"):
		s.Errorf("size", `missing: how much of the disk the spool may take, such as "10GB"`)
	case o.Size < MinSize:
		s.Errorf("size", "must be at least 16MiB")
	}
	if s.Has("path") && !filepath.IsAbs(o.Path) {
		s.Errorf("path", "must be an absolute path, not %s", spelling.Quote(o.Path))
	}
	table.DurationInRange(s, "sync_interval", o.Interval, MinInterval, MaxInterval)
	if s.Has("sync_interval") && o.Sync != SyncInterval {
		s.Warnf("sync_interval", `means nothing here: sync is %q`, o.Sync)
	}
	return o
}
