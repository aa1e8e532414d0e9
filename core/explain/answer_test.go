package explain_test

import (
	"testing"

	"github.com/rtflow/pipelined/core/explain"
)

func TestRecordString(t *testing.T) {
	for want, r := range map[string]explain.Record{
		"session-close when the session ends, to terminal":                {Kind: "session-close", Sinks: []string{"terminal"}},
		"session-close when the session ends, policy out, to no sink":     {Kind: "session-close", Policy: "out"},
		"session-open, to terminal, events":                               {Kind: "session-open", Sinks: []string{"terminal", "events"}},
		"filter-log filter edge-in term smb action reject, to terminal":   {Kind: "filter-log", Filter: "edge-in", Term: "smb", Action: "reject", Sinks: []string{"terminal"}},
		"policy-deny policy no-telnet(global) action reject, to terminal": {Kind: "policy-deny", Policy: "no-telnet(global)", Action: "reject", Sinks: []string{"terminal"}},
		"screen-drop screen syn-fin action deny, to terminal":             {Kind: "screen-drop", Screen: "syn-fin", Action: "deny", Sinks: []string{"terminal"}},
	} {
		if got := r.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
