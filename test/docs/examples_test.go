package docs

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sinks/file"
	"github.com/rtflow/pipelined/sources/capture"
)

// events returns what `pipelined read` prints for the shipped capture with the shipped configuration.
func events(t *testing.T, o format.Options) string {
	t.Helper()
	text, err := os.ReadFile(root + "pipeline.toml")
	if err != nil {
		t.Fatal(err)
	}
	f, problems := config.Parse("pipeline.toml", text)
	var out bytes.Buffer
	p := plan.New(f, problems, plan.Options{
		Registry: builtins(t), Log: slog.New(slog.DiscardHandler),
		Input: &plan.Input{
			Name: "capture", Configured: capture.Configure(capture.Config{Path: root + "testdata/edge.pcapng.gz"}, nil),
		},
		Output: &plan.Output{Name: "out", New: func(env sdk.Env) sdk.Sink {
			o.Hostname = env.Hostname
			enc, err := format.New(o)
			if err != nil {
				t.Fatal(err)
			}
			return file.NewWriter(&out, enc)
		}},
	})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	pl, err := pipeline.Open(t.Context(), p, pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := pl.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Every example in the pages is something that the program prints.
func TestExamples(t *testing.T) {
	lines := strings.Split(events(t, format.Options{Format: format.RFC5424}), "\n")
	lines22 := strings.Split(events(t, format.Options{Format: format.RFC5424, Profile: format.Junos22}), "\n")
	lines25 := strings.Split(events(t, format.Options{Format: format.RFC5424, Profile: format.Junos25}), "\n")
	plain := strings.Split(events(t, format.Options{Format: format.RFC3164}), "\n")
	sequence := strings.Split(events(t, format.Options{Sequence: true, Epoch: 1764077640000000000, StructuredFilter: true}), "\n")
	envelopes := strings.Split(events(t, format.Options{Format: format.JSON, Envelope: true}), "\n")
	objects := strings.Split(events(t, format.Options{Format: format.JSON}), "\n")
	short := strings.Split(events(t, format.Options{Format: format.Text}), "\n")
	for i, line := range short { // as containsLine takes its text
		short[i] = strings.Join(strings.Fields(line), " ")
	}
	frames := events(t, format.Options{Format: format.Frames})
	seen := make(map[string]int)
	for _, p := range pages(t, "docs/*.md", "README.md") {
		for _, b := range p.blocks {
			seen[b.lang]++
			found := true
			switch b.lang {
			case "rfc5424":
				found = containsLine(lines, b.text)
			case format.Junos22:
				found = containsLine(lines22, b.text)
			case format.Junos25:
				found = containsLine(lines25, b.text)
			case "rfc3164":
				found = containsLine(plain, b.text)
			case "short":
				for line := range strings.Lines(b.text) {
					found = found && containsLine(short, line)
				}
			case "sequence":
				found = containsLine(sequence, b.text)
			case "envelope":
				found = containsLine(envelopes, b.text)
			case "json":
				var compact bytes.Buffer
				if err := json.Compact(&compact, []byte(b.text)); err != nil {
					t.Errorf("%s:%d: %v", p.name, b.line, err)
					continue
				}
				found = containsLine(objects, compact.String())
			case "xxd":
				found = strings.Contains(frames, string(undump(t, b.text)))
			}
			if !found {
				t.Errorf("%s:%d: the program prints no such %s", p.name, b.line, b.lang)
			}
		}
	}
	for _, lang := range []string{"rfc5424", format.Junos22, format.Junos25, "rfc3164", "short", "sequence", "envelope", "json", "xxd"} {
		if seen[lang] == 0 {
			t.Errorf("no page has a block %s: does the test read the right pages?", lang)
		}
	}
}

// containsLine reports whether one of the lines is the text, which is wrapped at blanks and in which "…" stands for
// anything.
func containsLine(lines []string, text string) bool {
	parts := strings.Split(strings.Join(strings.Fields(text), " "), "…")
	for _, line := range lines {
		if matches(line, parts) {
			return true
		}
	}
	return false
}

// matches reports whether the line begins with the first part, ends with the last, and has the others between them.
func matches(line string, parts []string) bool {
	last := len(parts) - 1
	for i, part := range parts {
		at := strings.Index(line, part)
		if i == last {
			if at = len(line) - len(part); at < 0 || line[at:] != part {
				return false
			}
		}
		if at < 0 || i == 0 && at != 0 {
			return false
		}
		line = line[at+len(part):]
	}
	return true
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		line, text string
		want       bool
	}{
		{"a b c", "a b c", true},
		{"a b c", "a b", false},
		{"a b c", "b c", false},
		{"a b c", "a … c", true},
		{"a b c", "… b c", true},
		{"a b c", "a …", true},
		{"a b c", "… c …", false}, // nothing follows the blank behind c
		{"a b c", "c … a", false},
	} {
		if got := containsLine([]string{c.line}, c.text); got != c.want {
			t.Errorf("%q in %q: %v", c.text, c.line, got)
		}
	}
}

// undump returns the bytes of a dump as xxd -a writes it, with "*" for rows of zeros.
func undump(t *testing.T, dump string) (b []byte) {
	t.Helper()
	for line := range strings.Lines(dump) {
		address, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if !ok || strings.HasPrefix(line, "$") {
			continue
		}
		at, err := hex.DecodeString(address)
		if err != nil || len(at) != 4 {
			t.Fatalf("no line of xxd: %q", line)
		}
		digits, _, _ := strings.Cut(rest, "  ")
		row, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil {
			t.Fatalf("no line of xxd: %q: %v", line, err)
		}
		start := int(at[2])<<8 | int(at[3])
		b = append(b, make([]byte, start-len(b))...)
		b = append(b, row...)
	}
	return b
}
