package file

import (
	_ "embed"
	"io/fs"
	"os"

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
	t := defaults()
	read := cfg.Decode(&t) // what could be read is checked all the same, so that one run shows every mistake
	good := t.check(cfg) && read
	own, known := ownership(cfg, t.Owner, t.Group)
	enc := t.Encoder(cfg, env)
	if !good || !known || enc == nil {
		return nil
	}
	t.warnIdle(cfg)
	t.warnShared(cfg)
	sink := newSink(enc, &logFile{
		path:    t.Path,
		trust:   safefile.Options{Shared: t.Shared, Owners: own.users()},
		mode:    fs.FileMode(t.Mode),
		owner:   own,
		rotate:  t.Rotate,
		durable: t.Sync != syncNone,
		layout:  layoutOf(t.Format.Format),
		warn:    options.Warn(env),
	}, t.Sync, t.SyncInterval)
	sink.tellEpoch = true
	if env.Window > 0 {
		sink.most = min(syncRecords, max(env.Window/2, 1))
	}
	return sink
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
