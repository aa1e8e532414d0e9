package values

import (
	"strings"
	"testing"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "0B": 0, "12": 12, "12B": 12, "1kB": 1000, "1KB": 1000, "1KiB": 1024, "2 MB": 2e6, "2MiB": 2 << 20,
		"3GB": 3e9, "3GiB": 3 << 30, "4TB": 4e12, "4TiB": 4 << 40,
		"": -1, "-1": -1, "1.5GB": -1, "GB": -1, "9999999TB": -1, "1PB": -1, "many": -1,
	} {
		var got Size
		err := got.UnmarshalText([]byte(text))
		if want < 0 {
			if err == nil || !strings.Contains(err.Error(), "want a size") {
				t.Errorf("%q: %d, %v", text, got, err)
			}
		} else if err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestMode(t *testing.T) {
	for _, c := range []struct {
		value any
		want  Mode
		err   string
	}{
		{"0640", 0o640, ""},
		{"777", 0o777, ""},
		{"0", 0, ""},
		{"1777", 0, `want permission bits as a string such as "0660", got 1777`},
		{"rw", 0, `want permission bits as a string such as "0660", got rw`},
		{int64(0o660), 0, `want permission bits as a string such as "0660", got 432`},
		{true, 0, `want permission bits as a string such as "0660", got true`},
	} {
		var got Mode
		err := got.UnmarshalTOML(c.value)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%v: %o, %v; want %o, %s", c.value, got, err, c.want, c.err)
		}
	}
}
