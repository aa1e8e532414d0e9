package options

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/table"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/format"
)

// mistakes is a table of which only the mistakes matter.
type mistakes struct {
	sdk.Config
	text []string
}

func (m *mistakes) Decode(any) bool { return true }

func (m *mistakes) Errorf(key, form string, args ...any) {
	m.text = append(m.text, key+": "+fmt.Sprintf(form, args...))
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		change func(*Format)
		host   string
		want   string
	}{
		{func(*Format) {}, "fw1", ""},
		{func(o *Format) { o.Format = "xml" }, "fw1", `format: unknown "xml"`},
		{func(o *Format) { o.Profile = "junos-99" }, "fw1", `profile: unknown "junos-99"`},
		{func(o *Format) { o.Profile = "junos-20" }, "fw1", `profile: unknown "junos-20"; did you mean "junos-20-21"?`},
		{func(o *Format) { o.Format = "jsno" }, "fw1", `format: unknown "jsno"; did you mean "json"?`},
		{func(o *Format) { o.Platform = 0 }, "fw1", "platform: want the last number of the SD-ID"},
		{func(*Format) {}, "fw 1", ": format: hostname"},
	} {
		o := DefaultFormat(format.RFC5424)
		c.change(&o)
		m := &mistakes{}
		enc := o.Encoder(m, sdk.Env{Hostname: c.host})
		if text := strings.Join(m.text, "; "); (enc != nil) != (c.want == "") || !strings.HasPrefix(text, c.want) {
			t.Errorf("%+v on %s: encoder %v, mistakes %q, want %q", o, c.host, enc, text, c.want)
		}
	}
}

func TestTLSCheck(t *testing.T) {
	for _, c := range []struct {
		o    *TLS
		want string
	}{
		{nil, ""}, {&TLS{}, ""}, {&TLS{Cert: "c", Key: "k"}, ""},
		{&TLS{Cert: "c"}, "tls.key: missing: cert and key go together, and there is only cert"},
		{&TLS{Key: "k"}, "tls.cert: missing: cert and key go together, and there is only key"},
	} {
		m := &mistakes{}
		check := Check(m)
		check.TLS(c.o, "tls")
		if check.OK() != (c.want == "") || strings.Join(m.text, "; ") != c.want {
			t.Errorf("%+v: %t, %q", c.o, check.OK(), m.text)
		}
	}
}

func TestCheckRanges(t *testing.T) {
	m := &mistakes{}
	c := Check(m)
	c.Number(1, "n", 1, 2)
	c.Number(2, "n", 1, 2)
	c.Duration(time.Second, "d", time.Second, time.Minute)
	c.Mistake(false, "x", "never")
	if !c.OK() || m.text != nil {
		t.Errorf("mistakes %q", m.text)
	}
	c.Number(3, "n", 1, 2)
	c.Duration(time.Hour, "d", time.Second, time.Minute)
	if want := "n: want 1 to 2, got 3; d: want 1s to 1m0s, got 1h0m0s"; c.OK() || strings.Join(m.text, "; ") != want {
		t.Errorf("mistakes %q, want %q", m.text, want)
	}
}

func TestSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from file \r\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ value, file, want string }{
		{"", "", ""}, {"plain", "", "plain"}, {"", file, "from file "},
	} {
		if got, err := Secret(c.value, c.file); got != c.want || err != nil {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
	if _, err := Secret("", file+"x"); err == nil || !strings.Contains(err.Error(), file+"x") {
		t.Errorf("a missing file: %v", err)
	}
}

// TestIdle warns of options that the format does not read, and only if the table sets them.
func TestIdle(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{`{"format": "rfc5424", "profile": "junos-22-24", "platform": 40}`, nil},
		{`{"format": "rfc3164", "profile": "junos-22-24"}`, nil},
		{`{"format": "json"}`, nil},
		{`{"format": "json", "profile": "junos-22-24"}`, []string{"profile"}},
		{`{"format": "frames", "profile": "junos-20-21", "platform": 40}`, []string{"profile", "platform"}},
		{`{"format": "rfc3164", "platform": 40}`, []string{"platform"}},
		{`{"format": "text"}`, nil},
		{`{"format": "text", "profile": "junos-20-21", "platform": 40, "text": true}`, []string{"profile", "platform", "text"}},
	} {
		cfg, err := table.Parse("x", c.text)
		if err != nil {
			t.Fatal(err)
		}
		o := DefaultFormat(format.RFC5424)
		if !cfg.Decode(&o) || o.Encoder(cfg, sdk.Env{Hostname: "fw1"}) == nil {
			t.Errorf("%s: %v", c.text, cfg.Err())
		}
		var got []string
		for _, p := range cfg.Problems() {
			got = append(got, p.Key)
			if !p.Warning || !strings.Contains(p.Message, "means nothing here") {
				t.Errorf("%s: %v", c.text, p)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: warnings at %q, want %q", c.text, got, c.want)
		}
	}
}

func TestKeys(t *testing.T) {
	cfg, err := table.Parse("x", `{"rotate": {"keep": 3}, "path": "/x"}`)
	if err != nil {
		t.Fatal(err)
	}
	k := KeysOf(cfg)
	if !k["rotate.keep"] || !k["rotate"] || !k["path"] || len(k) != 3 {
		t.Errorf("keys %v", k)
	}
}
