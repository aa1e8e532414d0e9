package nats

import (
	_ "embed"

	"github.com/rtflow/pipelined/internal/inflight"
	"github.com/rtflow/pipelined/internal/options"
	"github.com/rtflow/pipelined/internal/topic"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

//go:embed sample.toml
var sample string

// Plugin returns the sink "nats".
func Plugin() sdk.SinkPlugin {
	return sdk.SinkPlugin{
		Name:      "nats",
		Summary:   "publishes to a NATS JetStream stream",
		Sample:    sample,
		Configure: newSink,
	}
}

// maxRecords bounds the records on their way, whatever max_in_flight and batch make together.
const maxRecords = 1 << 16

func newSink(cfg sdk.Config, env sdk.Env) sdk.Sink {
	t := defaults()
	read := cfg.Decode(&t) // what could be read is checked all the same, so that one run shows every mistake
	good := t.check(cfg) && read
	enc := t.Encoder(cfg, env)
	subjects, err := topic.Parse(t.Subject, map[string]string{"host": orUnknown(env.Hostname), "sink": cfg.Name()}, escape)
	if err == nil {
		err = checkSubject(subjects.Pattern("x"))
	}
	if err != nil {
		cfg.Errorf("subject", "%v", err)
	}
	if !good || enc == nil || err != nil {
		return nil
	}
	if t.Batch > 1 && env.Window > 0 {
		t.Batch = min(t.Batch, max(env.Window/2, 1))
	}
	return &Sink{
		table:    t,
		name:     cfg.Name(),
		host:     env.Hostname,
		enc:      enc,
		subjects: subjects,
		warn:     options.Warn(env),
		cuts:     make(map[event.Seq]cut),
		window:   inflight.New(min(t.MaxInFlight*t.Batch, maxRecords)),
	}
}

func orUnknown(host string) string {
	if host == "" {
		return topic.Unknown
	}
	return host
}
