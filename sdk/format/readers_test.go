package format_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/rfc5424"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// fluentBit takes messages as the parser syslog-rfc5424 that Fluent Bit comes with: it wants a text.
var fluentBit = regexp.MustCompile(`^<(?P<pri>[0-9]{1,5})>1 (?P<time>[^ ]+) (?P<host>[^ ]+) (?P<ident>[^ ]+) ` +
	`(?P<pid>[-0-9]+) (?P<msgid>[^ ]+) (?P<extradata>(\[(.*?)\]|-)) (?P<message>.+)$`)

// TestReadersThatWantText checks what readers make of a message with a text and of one without: Fluent Bit by its expression, and
// Loki, Alloy and Telegraf by the parser that they use, of which the first two drop what has no text.
func TestReadersThatWantText(t *testing.T) {
	for _, text := range []bool{false, true} {
		for _, sequence := range []bool{false, true} {
			with := newEncoder(t, format.Options{Text: text, Sequence: sequence})
			plain := newEncoder(t, format.Options{Format: format.RFC3164})
			for _, s := range samples() {
				line := string(with.Append(nil, s.r, names()))
				wantText := text || s.r.Kind() == event.FilterLog || s.r.Kind() == event.Loss
				m := fluentBit.FindStringSubmatch(line)
				if (m != nil) != wantText {
					t.Errorf("text %v: Fluent Bit takes it: %v\n%s", text, m != nil, line)
				}
				if m != nil && (m[fluentBit.SubexpIndex("host")] != "fw1" || m[fluentBit.SubexpIndex("message")] == "") {
					t.Errorf("Fluent Bit reads %q in\n%s", m, line)
				}
				parsed, err := rfc5424.NewParser().Parse([]byte(line))
				if err != nil {
					t.Fatalf("%v in\n%s", err, line)
				}
				message := parsed.Message
				if (message != nil) != wantText {
					t.Errorf("text %v: a message of text: %v\n%s", text, message != nil, line)
				}
				if p := string(plain.Append(nil, s.r, names())); message != nil && !strings.HasSuffix(p, *message) {
					t.Errorf("the text %q is not that of the plain form\n%s", *message, p)
				}
			}
		}
	}
}

// TestTextAllocations checks that a text costs no allocation.
func TestTextAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	e := newEncoder(t, format.Options{Text: true})
	n := names()
	b := make([]byte, 0, 8192)
	for _, s := range samples() {
		if got := testing.AllocsPerRun(100, func() { b = e.Append(b[:0], s.r, n) }); got != 0 {
			t.Errorf("%s: %v allocations", s.name, got)
		}
	}
}
