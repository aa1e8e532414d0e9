package logverify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/internal/syslogframe"
)

// Report is called for each problem.
type Report func(line int, p Problem)

// Result is the result of checking a stream.
type Result struct {
	Messages int
	Problems int // messages with at least one
	JSON     int // of them, lines of JSON and no syslog: the first alone is reported
	checker  *Checker
}

// All reads a stream to its end. What cannot be read is an error; what deviates is reported.
func All(r io.Reader, o Options, report Report) (Result, error) {
	in, c := syslogframe.NewReader(r), NewChecker(o)
	res := Result{checker: c}
	for {
		msg, line, err := in.Next()
		if errors.Is(err, io.EOF) {
			return res, nil
		}
		if err != nil {
			return res, err
		}
		res.Messages++
		if isJSON(msg) {
			res.Problems++
			if res.JSON++; res.JSON == 1 {
				report(line, Problem{1, "JSON, and not syslog: verify reads the messages of the formats rfc5424 and rfc3164, and JSON behind a syslog header. " +
					"Further lines of JSON are only counted"})
			}
			continue
		}
		problems := c.Check(msg)
		if len(problems) > 0 {
			res.Problems++
		}
		for _, p := range problems {
			report(line, p)
		}
	}
}

// isJSON reports whether a message is a JSON object.
func isJSON(msg []byte) bool { return len(msg) > 0 && msg[0] == '{' && json.Valid(msg) }

// WriteText writes how many messages of which kind there were, and what their sequence numbers say.
func (r *Result) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, tag := range slices.Sorted(maps.Keys(r.checker.counts)) {
		fmt.Fprintf(&b, "%9d %s\n", r.checker.counts[tag], tag)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.checker.lost)) {
		fmt.Fprintf(&b, "%9d events announced as lost: %s\n", r.checker.lost[reason], reason)
	}
	for _, epoch := range slices.Sorted(maps.Keys(r.checker.seq)) {
		s := r.checker.seq[epoch]
		fmt.Fprintf(&b, "epoch %s: sequence %d to %d, %d missing, %d repeated\n", epoch, s.first(), s.last(), s.lost(), s.repeated)
	}
	if r.JSON > 0 {
		fmt.Fprintf(&b, "%9d lines of JSON, not checked\n", r.JSON)
	}
	fmt.Fprintf(&b, "%d messages, %d deviate\n", r.Messages, r.Problems)
	_, err := io.WriteString(w, b.String())
	return err
}
