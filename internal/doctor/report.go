package doctor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/terminal"
)

// Report is what was found out about a machine.
type Report struct {
	// Configuration is the file whose sources were looked for; "" if it is all that there are.
	Configuration string            `json:"configuration,omitempty"`
	Ready         bool              `json:"ready"` // nothing is missing
	Findings      []machine.Finding `json:"findings"`
}

// NewReport makes a report of findings: each once, those of a part together, in the order in which they come.
func NewReport(configuration string, findings []machine.Finding) *Report {
	r := &Report{Configuration: configuration, Ready: true, Findings: []machine.Finding{}}
	findings = slices.Clone(findings)
	machine.JoinCapabilities(findings)
	var parts []string
	for _, f := range findings {
		if !slices.Contains(parts, f.Part) {
			parts = append(parts, f.Part)
		}
	}
	interfaces := slices.DeleteFunc(slices.Clone(parts), func(part string) bool { return !machine.IsLinkPart(part) })
	parts = append(slices.DeleteFunc(parts, machine.IsLinkPart), interfaces...)
	for _, part := range parts {
		for _, f := range findings {
			if f.Part == part && !slices.Contains(r.Findings, f) {
				r.Findings = append(r.Findings, f)
				r.Ready = r.Ready && f.Verdict != machine.Missing
			}
		}
	}
	return r
}

// Summary says in a line what the findings come to.
func (r *Report) Summary() string {
	count := make(map[machine.Verdict]int)
	for _, f := range r.Findings {
		count[f.Verdict]++
	}
	text := "nothing is missing"
	if n := count[machine.Missing]; n > 0 {
		text = fmt.Sprintf("%d missing", n)
	}
	if n := count[machine.Warning]; n == 1 {
		text += ", 1 warning"
	} else if n > 1 {
		text += fmt.Sprintf(", %d warnings", n)
	}
	if n := count[machine.Unknown]; n > 0 {
		text += fmt.Sprintf(", %d unknown", n)
	}
	return text
}

// WriteText writes a line for each finding, under the name of its part.
func (r *Report) WriteText(w io.Writer) error {
	var b bytes.Buffer
	if r.Configuration != "" {
		fmt.Fprintf(&b, "what %s needs\n\n", terminal.Line(r.Configuration))
	}
	verdicts, subjects := 0, 0
	for _, f := range r.Findings {
		verdicts = max(verdicts, len(f.Verdict))
		subjects = max(subjects, utf8.RuneCountInString(terminal.Line(f.Subject)))
	}
	part := ""
	for _, f := range r.Findings {
		if f.Part != part {
			part = f.Part
			fmt.Fprintln(&b, terminal.Line(part))
		}
		subject := terminal.Line(f.Subject)
		fmt.Fprintf(&b, "  %-*s  %s%s  %s", verdicts, f.Verdict, subject, strings.Repeat(" ", subjects-utf8.RuneCountInString(subject)), terminal.Line(f.Text))
		if f.Command != "" {
			fmt.Fprintf(&b, "; do: %s", terminal.Line(f.Command))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\n%s\n", r.Summary())
	_, err := w.Write(b.Bytes())
	return err
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
