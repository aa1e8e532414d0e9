package format

import (
	"strings"
	"testing"
)

// TestProfileHint pins what is proposed for a name that is no profile: that of the release, before what is spelled alike.
func TestProfileHint(t *testing.T) {
	for name, want := range map[string]string{
		"junos-18": Junos19, "18.4": "the profiles are: ", "": "the profiles are: ", "vsrx": "the profiles are: ",
		"junos-99999999999999999999": "the profiles are: ",
		"junos-19.4":                 Junos19, "19": Junos19, "junso-19": Junos19,
		"junos-20": Junos20, "junos-21": Junos20, "Junos_20.4R3": Junos20, "juno-20-21": Junos20,
		"junos-22": Junos22, "23.4R1": Junos22, "junos-24": Junos22, "junos22": Junos22,
		"junos-25": Junos25, "26.2R1": Junos25,
	} {
		if got := profileHint(name); !strings.Contains(got, want) || strings.HasPrefix(want, "junos") != strings.HasPrefix(got, "did you mean") {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}
