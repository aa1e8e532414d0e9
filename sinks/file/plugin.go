package file

import (
	_ "embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rtflow/pipelined/internal/options"
	"github.com/rtflow/pipelined/internal/safefile"
	"github.com/rtflow/pipelined/internal/terminal"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/format"
)

//go:embed sample.toml
var fileSample string

//go:embed sample_stdout.toml
var stdoutSample string

// Limits of the options.
const (
	minRotateSize     = 1_000_000
	minRotateInterval = time.Minute
	minMaxAge         = time.Hour
	minSyncInterval   = time.Millisecond
	maxSyncInterval   = time.Minute
)

// Plugin returns the sink "file".
func Plugin() sdk.SinkPlugin {
	return sdk.SinkPlugin{
		Name:      "file",
		Summary:   "appends to a file and rotates it; also a FIFO or device",
		Sample:    fileSample,
		Configure: newFile,
	}
}

// StdoutPlugin returns the sink "stdout".
func StdoutPlugin() sdk.SinkPlugin {
	return sdk.SinkPlugin{
		Name:      "stdout",
		Summary:   "writes to standard output, short lines for people unless told otherwise",
		Sample:    stdoutSample,
		Configure: newStdout,
	}
}

func newFile(cfg sdk.Config, env sdk.Env) sdk.Sink {
	o := table{
		Format:       options.DefaultFormat(format.RFC5424),
		Rotate:       rotateOptions{Keep: 14},
		SyncInterval: time.Second,
		Mode:         0o640,
	}
	read := cfg.Decode(&o) // what could be read is checked all the same, so that one run shows every mistake
	good := o.check(cfg) && read
	own, known := ownership(cfg, o.Owner, o.Group)
	enc := o.Encoder(cfg, env)
	if !good || !known || enc == nil {
		return nil
	}
	o.warnIdle(cfg)
	o.warnShared(cfg)
	warn := env.Warn
	if warn == nil {
		warn = func(string, ...any) {}
	}
	sink := newSink(enc, &logFile{
		path:    o.Path,
		trust:   safefile.Options{Shared: o.Shared, Owners: own.users()},
		mode:    fs.FileMode(o.Mode),
		owner:   own,
		rotate:  o.Rotate,
		durable: o.Sync != syncNone,
		layout:  layoutOf(o.Format.Format),
		warn:    warn,
	}, o.Sync, o.SyncInterval)
	sink.tellEpoch = true
	if env.Window > 0 {
		sink.most = min(syncRecords, max(env.Window/2, 1))
	}
	return sink
}

// check records every mistake in the values.
func (o *table) check(cfg sdk.Config) bool {
	good := true
	mistake := func(wrong bool, key, form string, args ...any) {
		if wrong {
			cfg.Errorf(key, form, args...)
			good = false
		}
	}
	if o.Path == "" {
		mistake(true, "path", "the path of the file is missing")
	} else if abs, err := filepath.Abs(o.Path); err != nil {
		mistake(true, "path", "a relative path, and the working directory is not known: %v", err)
	} else {
		o.Path = abs
		info, err := os.Stat(abs)
		mistake(err == nil && info.IsDir(), "path", "is a directory: name a file in it, such as %q", filepath.Join(abs, "events.log"))
	}
	r := o.Rotate
	mistake(r.Size != 0 && r.Size < minRotateSize, "rotate.size", "want at least 1MB, got %d bytes", r.Size)
	mistake(r.Interval != 0 && time.Duration(r.Interval) < minRotateInterval, "rotate.interval",
		"want at least %v, got %v", minRotateInterval, time.Duration(r.Interval))
	mistake(r.Keep < 0, "rotate.keep", "want how many rotated files to keep, or 0 for all, got %d", r.Keep)
	mistake(r.MaxAge != 0 && time.Duration(r.MaxAge) < minMaxAge, "rotate.max_age", "want at least %v, got %v",
		minMaxAge, time.Duration(r.MaxAge))
	mistake(o.Mode == 0, "mode", "nobody could open the file; want for example \"0640\"")
	mistake(o.SyncInterval < minSyncInterval || o.SyncInterval > maxSyncInterval, "sync_interval", "want %v to %v, got %v",
		minSyncInterval, maxSyncInterval, o.SyncInterval)
	return good
}

// warnShared warns of a directory that others may write to. Whom it belongs to is looked at when the file is opened: the daemon may run
// as another user than this process.
func (o *table) warnShared(cfg sdk.Config) {
	at, err := safefile.OpenParent(o.Path, safefile.Options{Shared: o.Shared})
	var unsafe *safefile.UnsafeError
	if errors.As(err, &unsafe) && unsafe.Writers {
		cfg.Warnf("path", "is not going to be opened: %v. %s", err, howToShare)
	}
	if err == nil {
		_ = at.Close()
	}
}

// warnIdle warns of options that nothing reads beside the others.
func (o *table) warnIdle(cfg sdk.Config) {
	keys := options.KeysOf(cfg)
	if o.Sync != syncInterval {
		keys.Idle(cfg, `only sync = "interval" waits`, "sync_interval")
	}
	rotation := []string{"rotate.size", "rotate.interval", "rotate.keep", "rotate.max_age", "rotate.compress"}
	if info, err := os.Stat(o.Path); err == nil && !info.Mode().IsRegular() {
		keys.Idle(cfg, "the path is a device, FIFO or socket, which is never rotated", rotation...)
		return
	}
	if o.Rotate.Size == 0 && o.Rotate.Interval == 0 {
		keys.Idle(cfg, "without rotate.size or rotate.interval no file is ever rotated", rotation[2:]...)
	}
}

func newStdout(cfg sdk.Config, env sdk.Env) sdk.Sink {
	o := options.DefaultFormat(format.Text)
	o.Colour = terminal.Colours(os.Stdout)
	read := cfg.Decode(&o)
	enc := o.Encoder(cfg, env)
	if !read || enc == nil {
		return nil
	}
	sink := newSink(enc, &stream{connect: openStdout}, syncNone, 0)
	sink.tellEpoch = true
	return sink
}
