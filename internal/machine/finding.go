// Package machine reads what a machine can do from the files of its kernel, and holds what was found out, with the commands that
// mend it.
//
// It changes nothing. Files are read below a root, so that tests have machines of their own.
package machine

import "fmt"

// Verdict is what a finding means for whoever wants to use what was looked at.
type Verdict string

// Verdicts.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning" // it can be used, and gives less than it could
	Missing Verdict = "missing" // it cannot be used
	Unknown Verdict = "unknown" // it could not be found out
)

// Finding is what was found out about one thing.
type Finding struct {
	Part    string  `json:"part"`    // of the machine: "AF_XDP", "interface wan0"
	Subject string  `json:"subject"` // what was looked at: "capabilities"
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
	Command string  `json:"command,omitempty"` // that mends it, or finds it out; "" if there is none

	needs Capabilities // of which the process lacks some
}

// Part collects the findings about a part of the machine.
type Part struct {
	Name     string
	Needed   bool // a configuration uses it: what it lacks stands in the way
	Findings []Finding
}

func (p *Part) add(subject string, v Verdict, command, format string, args []any) {
	p.Findings = append(p.Findings, Finding{Part: p.Name, Subject: subject, Verdict: v, Text: fmt.Sprintf(format, args...), Command: command})
}

// OK adds a finding.
func (p *Part) OK(subject, format string, args ...any) { p.add(subject, OK, "", format, args) }

// Warn adds a finding, and the command that mends it.
func (p *Part) Warn(subject, command, format string, args ...any) {
	p.add(subject, Warning, command, format, args)
}

// Missing adds a finding, and the command that mends it.
func (p *Part) Missing(subject, command, format string, args ...any) {
	p.add(subject, Missing, command, format, args)
}

// Lacks adds a finding that is [Missing] if the part is needed, and otherwise a [Warning].
func (p *Part) Lacks(subject, command, format string, args ...any) {
	v := Warning
	if p.Needed {
		v = Missing
	}
	p.add(subject, v, command, format, args)
}

// Unknown adds a finding, and the command that finds out more.
func (p *Part) Unknown(subject, command, format string, args ...any) {
	p.add(subject, Unknown, command, format, args)
}
