package pipeline

import (
	"slices"
	"testing"
	"testing/synctest"
)

// What a pipeline is said to consist of is what it consists of now, also after a reload.
func TestShape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSinkRig(t, &fakeQueue{flows: 1})
		pl := runPlan(t, r.plan(sinkText("5s", "a", "", "b", "")))
		defer pl.end()
		if _, err := pl.Reload(r.plan(sinkText("5s", "c", "", "b", ""))); err != nil {
			t.Fatal(err)
		}
		want := []Part{{Name: "c", Plugin: "clerk"}, {Name: "b", Plugin: "clerk"}}
		if s := pl.Shape(); !slices.Equal(s.Sinks, want) || len(s.Sources) != 1 || s.Sources[0].Name != "in" {
			t.Errorf("%+v", s)
		}
	})
}
