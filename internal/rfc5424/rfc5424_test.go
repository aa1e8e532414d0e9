package rfc5424_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/rfc5424"
)

func TestParse(t *testing.T) {
	p := rfc5424.NewParser()
	m, err := p.Parse([]byte(`<14>1 2026-03-01T10:15:50.875Z fw1 RT_FLOW - RT_FLOW_SESSION_CLOSE [x@2636 a="1\"2"] text`))
	if err != nil {
		t.Fatal(err)
	}
	if *m.Priority != 14 || *m.Hostname != "fw1" || *m.Message != "text" || (*m.StructuredData)["x@2636"]["a"] != `1"2` {
		t.Errorf("%+v", m)
	}
	var syntax *rfc5424.SyntaxError
	if _, err := p.Parse([]byte("<14>1 yesterday fw1 - - - -")); !errors.As(err, &syntax) || syntax.Column != 6 || syntax.Reason == "" {
		t.Errorf("%v", err)
	}
	if _, err := p.Parse([]byte("<14>1 - fw1 - - - -")); err != nil {
		t.Errorf("after an error: %v", err)
	}
}

func TestValidHostname(t *testing.T) {
	for host, want := range map[string]bool{
		"fw1": true, "fw1.example.net": true, "-": true, "": false, "fw 1": false, "fw\n1": false, "fw\xff": false,
		strings.Repeat("a", 255): true, strings.Repeat("a", 256): false,
	} {
		if got := rfc5424.ValidHostname(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}
