package keypath_test

import (
	"slices"
	"testing"

	"github.com/rtflow/pipelined/internal/keypath"
)

func TestPaths(t *testing.T) {
	for _, c := range []struct {
		path  string
		want  string
		parts []keypath.Part
	}{
		{keypath.Join("", "sinks"), "sinks", []keypath.Part{{Key: "sinks"}}},
		{keypath.Join(keypath.Join("", "a.b"), "c_D-9"), `"a.b".c_D-9`, []keypath.Part{{Key: "a.b"}, {Key: "c_D-9"}}},
		{keypath.Join("t", ""), `t.""`, []keypath.Part{{Key: "t"}, {}}},
		{keypath.Join("t", `ö"]`), `t."ö\"]"`, []keypath.Part{{Key: "t"}, {Key: `ö"]`}}},
		{
			keypath.Join(keypath.Element("term", 2), "from"), "term[2].from",
			[]keypath.Part{{Key: "term"}, {Index: 2, Element: true}, {Key: "from"}},
		},
		{keypath.Element(keypath.Element("m", 0), 1), "m[0][1]", []keypath.Part{{Key: "m"}, {Element: true}, {Index: 1, Element: true}}},
	} {
		if c.path != c.want {
			t.Errorf("%s; want %s", c.path, c.want)
		}
		var parts []keypath.Part
		for rest := c.path; rest != ""; {
			p, r, ok := keypath.Next(rest)
			if !ok {
				t.Fatalf("%s cannot be read from %s on", c.path, rest)
			}
			parts, rest = append(parts, p), r
		}
		if !slices.Equal(parts, c.parts) {
			t.Errorf("%s is %+v; want %+v", c.path, parts, c.parts)
		}
		if got := keypath.Format(parts); got != c.path {
			t.Errorf("the parts of %s make %s", c.path, got)
		}
	}
	for _, path := range []string{"", ".", "[", "[x]", "[1", `"a`, `"\q"`} {
		if p, _, ok := keypath.Next(path); ok {
			t.Errorf("%q is read as %+v", path, p)
		}
	}
}

func TestList(t *testing.T) {
	for path, want := range map[string]string{"a[1]": "a", "a[1][2]": "a[1]", "t[1].a": "", "a": "", "[1]": "", "]": "", "": ""} {
		if got, ok := keypath.List(path); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v; want %q", path, got, ok, want)
		}
	}
}

func TestSecret(t *testing.T) {
	for key, want := range map[string]bool{
		"metrics_token": true, "auth.password": true, "sasl.passwd[0]": true, `headers."Authorization"`: true, "tokens.a": true, "API_KEY": true,
		"": false, "metrics_token_file": false, "keys": false, "auth.user": false,
	} {
		if got := keypath.Secret(key); got != want {
			t.Errorf("%q: %v", key, got)
		}
	}
}
