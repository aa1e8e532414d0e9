package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxProblems bounds how many errors are kept, and how many warnings: nobody reads more, and what a file costs must not grow
// faster than its size.
const maxProblems = 100

// Severity says whether a problem stops the daemon from starting.
type Severity uint8

const (
	Error   Severity = iota // the configuration is refused
	Warning                 // the configuration works, but probably not as it was meant
)

// Problem is one mistake and its place.
type Problem struct {
	File     string
	Line     int    // from 1; 0 if the problem is the file itself
	Column   int    // from 1, in characters; 0 if the problem is the file itself
	Key      string // full path of the key, "hooks.edge-in.term[2].from"; may be empty
	Message  string
	Severity Severity
}

// String returns the problem as compilers print theirs: `pipeline.toml:12:3: hooks.screens.tcp.syn-fn: unknown key`.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		b.WriteString(":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column))
	}
	b.WriteString(": ")
	if p.Severity == Warning {
		b.WriteString("warning: ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems collects the problems of one configuration, however many files it has.
type Problems struct {
	list  []Problem
	files []string // in the order they were read
	count [2]int   // how many were recorded of each severity, kept or not
}

// Err returns nil if there is no error (there may be warnings), otherwise an *[InvalidError].
func (p *Problems) Err() error {
	if p.count[Error] == 0 {
		return nil
	}
	var list []Problem
	for _, q := range p.All() {
		if q.Severity == Error {
			list = append(list, q)
		}
	}
	return &InvalidError{Problems: list}
}

// All returns every problem, warnings too, in the order of the files and of the places in them. Of more than a hundred
// errors, or warnings, an entry at the end says how many were left out.
func (p *Problems) All() []Problem {
	list := slices.Clone(p.list)
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(slices.Index(p.files, a.File), slices.Index(p.files, b.File)),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Key, b.Key),
			cmp.Compare(a.Message, b.Message),
		)
	})
	list = slices.Compact(list) // the core and a plugin may both have looked at the same key
	for severity, name := range [2]string{Error: "mistakes", Warning: "warnings"} {
		if more := p.count[severity] - maxProblems; more > 0 {
			list = append(list, Problem{
				File: p.files[0], Severity: Severity(severity), Message: fmt.Sprintf("too many %s: %d more are not shown", name, more),
			})
		}
	}
	return list
}

// full reports whether no more problems of that severity are kept, only counted.
func (p *Problems) full(s Severity) bool { return p.count[s] >= maxProblems }

// add records a problem.
func (p *Problems) add(q Problem) {
	full := p.full(q.Severity)
	p.count[q.Severity]++
	if full {
		return
	}
	if !slices.Contains(p.files, q.File) {
		p.files = append(p.files, q.File)
	}
	p.list = append(p.list, q)
}

// InvalidError is a configuration that is refused, with everything that is wrong with it.
type InvalidError struct{ Problems []Problem }

// Error returns one line per problem.
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}
