package explain_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packettext"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/plugins/filterlog"
	"github.com/rtflow/pipelined/plugins/policydeny"
	"github.com/rtflow/pipelined/plugins/screendrop"
	"github.com/rtflow/pipelined/sdk"
	filesink "github.com/rtflow/pipelined/sinks/file"
	"github.com/rtflow/pipelined/sources/capture"
)

// BenchmarkText explains one packet by the configuration that ships, with all its hooks.
func BenchmarkText(b *testing.B) {
	text, err := os.ReadFile("../../pipeline.toml")
	if err != nil {
		b.Fatal(err)
	}
	file, problems := config.Parse("pipeline.toml", text)
	registry, err := plan.NewRegistry([]source.Plugin{capture.Plugin(nil)}, []hook.Plugin{screendrop.Plugin(), filterlog.Plugin(), policydeny.Plugin()}, []sdk.SinkPlugin{filesink.Plugin()})
	if err != nil {
		b.Fatal(err)
	}
	plan := plan.New(file, problems, plan.Options{
		Registry: registry, Hostname: "fw1", Input: &plan.Input{Name: "capture", Configured: capture.Configure(capture.Config{Path: "-"}, nil)},
	})
	if err := problems.Err(); err != nil {
		b.Fatal(err)
	}
	x := plan.Explainer()
	for i := 0; b.Loop(); i++ {
		p, err := packettext.Parse(fmt.Sprintf("tcp 198.51.100.9:%d > 192.0.2.80:80 in wan0", 1024+i%60000))
		if err != nil {
			b.Fatal(err)
		}
		if a, err := x.Text(p); err != nil || a.Verdict != "pass" {
			b.Fatal(a, err)
		}
	}
}
