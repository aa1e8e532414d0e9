package format_test

import (
	"strings"
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

func TestPriority(t *testing.T) {
	for text, want := range map[string]format.Priority{
		"kern.emerg": 0, "user.info": 14, "user.err": 11, "user.error": 11, "local3.info": 158, "local7.debug": 191,
		"local4.warn": 164, "daemon.critical": 26, "auth.emergency": 32,
	} {
		var p format.Priority
		if err := p.UnmarshalText([]byte(text)); err != nil || p != want {
			t.Errorf("%s: %d, %v, want %d", text, p, err, want)
		}
	}
	for p := range format.Priority(192) {
		var back format.Priority
		if err := back.UnmarshalText([]byte(p.String())); err != nil || back != p {
			t.Errorf("%v came back as %v, %v", p, back, err)
		}
	}
	for text, named := range map[string]string{"user": "facility and severity", "usr.info": "usr", "user.loud": "loud", ".info": `""`} {
		var p format.Priority
		if err := p.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), named) {
			t.Errorf("%s: %v does not name %s", text, err, named)
		}
	}
	if got := format.DefaultPriority(event.FilterLog).String(); got != "local3.info" {
		t.Errorf("filter logs are %s", got)
	}
}
