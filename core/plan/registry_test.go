package plan

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/sdk"
)

func newSink(sdk.Config, sdk.Env) sdk.Sink { return nil }

func newSource(sdk.Config, source.Env) source.Configured { return source.Configured{} }

func TestNewRegistry(t *testing.T) {
	r, err := NewRegistry([]source.Plugin{{Name: "s", Configure: newSource}}, nil, []sdk.SinkPlugin{{Name: "b", Configure: newSink}, {Name: "a", Configure: newSink}})
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(r.Sinks)); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("sinks %v, want a and b in order", got)
	}
	if len(r.Sources) != 1 || len(r.Hooks) != 0 {
		t.Errorf("%d sources, %d hooks", len(r.Sources), len(r.Hooks))
	}
}

func TestNewRegistryRefuses(t *testing.T) {
	_, err := NewRegistry(
		[]source.Plugin{{Name: "s", Configure: newSource}, {Name: "s", Configure: newSource}},
		[]hook.Plugin{{Name: "incomplete"}},
		[]sdk.SinkPlugin{{Configure: newSink}},
	)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`two source plugins are called "s"`, `hook plugin "incomplete" lacks`, `sink plugin "" lacks`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}
