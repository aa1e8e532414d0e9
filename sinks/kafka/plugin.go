package kafka

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

// Plugin returns the sink "kafka".
func Plugin() sdk.SinkPlugin {
	return sdk.SinkPlugin{
		Name:      "kafka",
		Summary:   "produces to Kafka topics",
		Sample:    sample,
		Configure: newSink,
	}
}

func newSink(cfg sdk.Config, env sdk.Env) sdk.Sink {
	t := defaults()
	read := cfg.Decode(&t) // what could be read is checked all the same, so that one run shows every mistake
	good := t.check(cfg) && read
	enc := t.Encoder(cfg, env)
	host := env.Hostname
	if host == "" {
		host = topic.Unknown
	}
	topics, err := topic.Parse(t.Topic, map[string]string{"host": host, "sink": cfg.Name()}, escape)
	if err == nil {
		err = checkTopic(topics.Pattern("x"))
	}
	if err != nil {
		cfg.Errorf("topic", "%v", err)
	}
	if !good || enc == nil || err != nil {
		return nil
	}
	return &Sink{
		table:      t,
		name:       cfg.Name(),
		host:       host,
		enc:        enc,
		topics:     topics,
		warn:       options.Warn(env),
		window:     inflight.New(t.MaxInFlight),
		suspects:   make(map[event.Seq]bool),
		batchBytes: int(t.BatchBytes),
	}
}
