package terminal

import (
	"os"
	"testing"
)

func TestColours(t *testing.T) {
	for _, c := range []struct {
		terminal      bool
		kind, noColor string
		want          bool
	}{
		{true, "xterm-256color", "", true},
		{false, "xterm-256color", "", false},
		{true, "xterm-256color", "1", false},
		{true, "dumb", "", false},
		{true, "", "", false},
	} {
		env := map[string]string{"TERM": c.kind, "NO_COLOR": c.noColor}
		if got := coloured(c.terminal, func(name string) string { return env[name] }); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if Colours(w) {
		t.Error("a pipe is no terminal")
	}
}
