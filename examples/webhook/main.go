// Command webhook is a sink for pipelined that posts records to a web server, one JSON object per line. It is the whole
// of a plugin: docs/plugins.md goes through it.
package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinkplugin"
)

func main() {
	sinkplugin.Serve(sdk.SinkPlugin{Name: "webhook", Summary: "posts JSON lines to a web server", Configure: newSink})
}

type sink struct {
	URL string `toml:"url"`
	enc format.Encoder
}

func newSink(cfg sdk.Config, env sdk.Env) sdk.Sink {
	s := new(sink)
	if cfg.Decode(s) && s.URL == "" {
		cfg.Errorf("url", "missing: where to post to")
	}
	s.enc, _ = format.New(format.Options{Format: format.JSON, Hostname: env.Hostname}) // the daemon's name is a good one
	return s
}

func (s *sink) Run(ctx context.Context, stream sdk.Stream) error {
	return sdk.Writer(func(ctx context.Context, b sdk.Batch) (accepted int, err error) {
		var body []byte
		for i := range b.Records {
			body = append(s.enc.Append(body, &b.Records[i], stream.Names(b.Records[i].Generation)), '\n')
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err // the daemon waits, and gives us the batch again
		}
		if resp.Body.Close(); resp.StatusCode/100 != 2 {
			return 0, fmt.Errorf("%s says %s", s.URL, resp.Status)
		}
		return b.Len(), nil
	}).Run(ctx, stream)
}
