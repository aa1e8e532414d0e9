package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rtflow/pipelined/internal/options"
	"github.com/rtflow/pipelined/internal/safefile"
	"github.com/rtflow/pipelined/internal/values"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/format"
)

// Limits of the options.
const (
	minRotateSize     = 1_000_000
	minRotateInterval = time.Minute
	minMaxAge         = time.Hour
	minSyncInterval   = time.Millisecond
	maxSyncInterval   = time.Minute
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

func defaults() table {
	return table{
		Format:       options.DefaultFormat(format.RFC5424),
		Rotate:       rotateOptions{Keep: 14},
		SyncInterval: time.Second,
		Mode:         0o640,
	}
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

// check records every mistake in the values.
func (t *table) check(cfg sdk.Config) bool {
	c := options.Check(cfg)
	if t.Path == "" {
		c.Mistake(true, "path", "the path of the file is missing")
	} else if abs, err := filepath.Abs(t.Path); err != nil {
		c.Mistake(true, "path", "a relative path, and the working directory is not known: %v", err)
	} else {
		t.Path = abs
		info, err := os.Stat(abs)
		c.Mistake(err == nil && info.IsDir(), "path", "is a directory: name a file in it, such as %q", filepath.Join(abs, "events.log"))
	}
	r := t.Rotate
	c.Mistake(r.Size != 0 && r.Size < minRotateSize, "rotate.size", "want at least 1MB, got %d bytes", r.Size)
	c.Mistake(r.Interval != 0 && time.Duration(r.Interval) < minRotateInterval, "rotate.interval",
		"want at least %v, got %v", minRotateInterval, time.Duration(r.Interval))
	c.Mistake(r.Keep < 0, "rotate.keep", "want how many rotated files to keep, or 0 for all, got %d", r.Keep)
	c.Mistake(r.MaxAge != 0 && time.Duration(r.MaxAge) < minMaxAge, "rotate.max_age", "want at least %v, got %v",
		minMaxAge, time.Duration(r.MaxAge))
	c.Mistake(t.Mode == 0, "mode", "nobody could open the file; want for example \"0640\"")
	c.Duration(t.SyncInterval, "sync_interval", minSyncInterval, maxSyncInterval)
	return c.OK()
}

// warnShared warns of a directory that others may write to. Whom it belongs to is looked at when the file is opened: the daemon may run
// as another user than this process.
func (t *table) warnShared(cfg sdk.Config) {
	at, err := safefile.OpenParent(t.Path, safefile.Options{Shared: t.Shared})
	var unsafe *safefile.UnsafeError
	if errors.As(err, &unsafe) && unsafe.Writers {
		cfg.Warnf("path", "is not going to be opened: %v. %s", err, howToShare)
	}
	if err == nil {
		_ = at.Close()
	}
}

// warnIdle warns of options that nothing reads beside the others.
func (t *table) warnIdle(cfg sdk.Config) {
	keys := options.KeysOf(cfg)
	if t.Sync != syncInterval {
		keys.Idle(cfg, `only sync = "interval" waits`, "sync_interval")
	}
	rotation := []string{"rotate.size", "rotate.interval", "rotate.keep", "rotate.max_age", "rotate.compress"}
	if info, err := os.Stat(t.Path); err == nil && !info.Mode().IsRegular() {
		keys.Idle(cfg, "the path is a device, FIFO or socket, which is never rotated", rotation...)
		return
	}
	if t.Rotate.Size == 0 && t.Rotate.Interval == 0 {
		keys.Idle(cfg, "without rotate.size or rotate.interval no file is ever rotated", rotation[2:]...)
	}
}
