package pipeline

import (
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/sdk"
)

// exclusive is a sink that writes to a file.
type exclusive struct {
	sinkFunc
	path    string
	waiting bool
}

func (e exclusive) Exclusive() string { return e.path }
func (e exclusive) Waiting() bool     { return e.waiting }

// TestTwoSinksOneDestination checks that two sinks which would write over each other are a mistake, and where it is.
func TestTwoSinksOneDestination(t *testing.T) {
	r := newRig(t, true, &fakeQueue{})
	reg := r.registry()
	reg.Sinks["fake"] = sdk.SinkPlugin{Name: "fake", Configure: func(cfg sdk.Config, _ sdk.Env) sdk.Sink {
		o := struct {
			Path string `toml:"path"`
		}{}
		cfg.Decode(&o)
		return exclusive{path: o.Path}
	}}
	for paths, want := range map[[2]string]string{
		{"file /a", "file /b"}: "",
		{"", ""}:               "",
		{"file /a", "file /a"}: "p.toml:14:8: sinks.other: this is the destination of sinks.good already: file /a",
	} {
		text := strings.NewReplacer("[sinks.good]", "[sinks.good]\npath = '"+paths[0]+"'", "[sinks.other]",
			"[sinks.other]\npath = '"+paths[1]+"'").Replace(twoSinks)
		file, problems := config.Parse("p.toml", []byte(text))
		NewPlan(file, problems, Options{Registry: reg, Hostname: "host"})
		var got []string
		for _, p := range problems.All() {
			got = append(got, p.String())
		}
		if all := strings.Join(got, "\n"); all != want {
			t.Errorf("%q: %s, want %s", paths, all, want)
		}
	}
}

// TestEpochs checks that no two sinks have the same epoch: their numbers would name each other's records.
func TestEpochs(t *testing.T) {
	r := newRig(t, true, &fakeQueue{})
	r.sinks["good"], r.sinks["other"] = deliverAll, deliverAll
	st := r.open(twoSinks).Status()
	if a, b := st.Sinks["good"].Epoch, st.Sinks["other"].Epoch; a == b || a == 0 {
		t.Errorf("epochs %d and %d", a, b)
	}
}
