package spelling_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/spelling"
)

func TestNearest(t *testing.T) {
	for _, c := range []struct {
		name  string
		valid string // names, with blanks between them
		want  string // "" for none
	}{
		{"ulr", "url retries", "url"},
		{"mdoe", "mode node", "mode"},
		{"Max_Age", "max-age", "max-age"},
		{"max-age", "max_age", "max_age"},
		{"id", "it", "it"},
		{"id", "tt", ""},
		{"x", "y", ""},
		{"", "a", ""},
		{"destinatoin", "destination", "destination"},
		{"destnation-addrss", "destination-address", "destination-address"},
		{"kye", "cert key", "key"},
		{"porta", "port ports", "ports"}, // as near, and longer
		{"ab-dmz", "xb-dmz cb-dmz", "xb-dmz"},
		{"trust", "untrust trust", "trust"},
		{"trust", "", ""},
		{"trusts", "untrust trust", "trust"},
		{strings.Repeat("n", 1000), "n", ""},
		{strings.Repeat("ab", 500), strings.Repeat("ba", 500), strings.Repeat("ba", 500)},
		{strings.Repeat("a", 1000), strings.Repeat("b", 1000), ""},
		{"zöne", "zone", "zone"},
	} {
		if got, ok := spelling.Nearest(c.name, strings.Fields(c.valid)); got != c.want || ok != (c.want != "") {
			t.Errorf("nearest to %q of %q: %q, %v; want %q", spelling.Shorten(c.name), spelling.Shorten(c.valid), got, ok, c.want)
		}
	}
}

func TestNearestKey(t *testing.T) {
	valid := []string{"id", "syn-fin", "syn-frag", "tcp_timeout", "destination"}
	for name, want := range map[string]string{
		"syn-fn": "syn-fin", "SYN-FIN": "syn-fin", "synfrag": "syn-frag", "tcp-timeout": "tcp_timeout",
		"destnaton": "destination", "Id": "id", "ip": "id", "x": "", "": "", "interface": "", "syn": "",
		strings.Repeat("x", 1<<20): "",
	} {
		if got, ok := spelling.Nearest(name, valid); got != want || ok != (want != "") {
			t.Errorf("Nearest(%.20q) = %q, %v, not %q", name, got, ok, want)
		}
	}
}

func TestMessages(t *testing.T) {
	many := make([]string, 31)
	for i := range many {
		many[i] = "n" + strconv.Itoa(1000+i)
	}
	first30 := strings.Join(many[:30], ", ")
	for _, c := range []struct {
		name                   string
		valid                  []string
		hint, unknown, suggest string
	}{
		{
			"untust", []string{"trust", "untrust"}, `did you mean "untrust"?`, `there is no zone "untust"; did you mean "untrust"?`,
			`; did you mean "untrust"?`,
		},
		{"dmz", []string{"trust", "lan"}, "the zones are: lan, trust", `there is no zone "dmz"; there are trust, lan`, `; there is "trust", "lan"`},
		{"dmz", nil, "there are no zones here", `there is no zone "dmz", nor any other`, ""},
		{"dmz", many, "the zones are: " + first30 + ", …", `there is no zone "dmz"; there are ` + first30 + ", …", ""},
	} {
		if got := spelling.Hint(c.name, "zones", c.valid); got != c.hint {
			t.Errorf("Hint: %s; want %s", got, c.hint)
		}
		if got := fmt.Sprint(spelling.Unknown("zone", c.name, c.valid)); got != c.unknown {
			t.Errorf("Unknown: %s; want %s", got, c.unknown)
		}
		if got := fmt.Sprint(spelling.Suggest(c.name, c.valid)); got != c.suggest {
			t.Errorf("Suggest: %s; want %s", got, c.suggest)
		}
	}
}

func TestQuote(t *testing.T) {
	for text, want := range map[string]string{
		"":                      `""`,
		"a\"b":                  `"a\"b"`,
		strings.Repeat("ö", 50): `"` + strings.Repeat("ö", 20) + `…"`,
	} {
		if got := spelling.Quote(text); got != want {
			t.Errorf("%q: %s; want %s", text, got, want)
		}
	}
}

// FuzzNearest holds what is suggested against the rule that it is near.
func FuzzNearest(f *testing.F) {
	f.Add("trust", "untrust trusted tru\xff")
	f.Add("a_b", "A-B ab a")
	f.Fuzz(func(t *testing.T, name, valid string) {
		names := strings.Fields(valid)
		best, ok := spelling.Nearest(name, names)
		if !ok {
			if strings.TrimSpace(name) == name && len(name) > 0 && strings.Contains(" "+valid+" ", " "+name+" ") {
				t.Errorf("%q is one of %q and near to none of them", name, names)
			}
			return
		}
		if d := len(best) - len(name); d > 3 || d < -3 {
			t.Errorf("%q is near to %q", best, name)
		}
	})
}

func BenchmarkNearest(b *testing.B) {
	valid := make([]string, 60_000)
	for i := range valid {
		valid[i] = fmt.Sprintf("customer-%05d-web", i)
	}
	for b.Loop() {
		spelling.Nearest("customer-x9999-webb", valid)
	}
}
