package pluginhost

import (
	"errors"
	"fmt"

	"github.com/rtflow/pipelined/internal/terminal"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// configError is what a plugin says about its configuration.
type configError struct{ problems []*sinkv1.Problem }

func (e *configError) Error() string {
	p := e.problems[0]
	text := terminal.Line(p.GetMessage())
	if p.GetKey() != "" {
		text = terminal.Line(p.GetKey()) + ": " + text
	}
	if n := len(e.problems) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return "the plugin refuses its configuration: " + text
}

func errorsAmong(problems []*sinkv1.Problem) (list []*sinkv1.Problem) {
	for _, p := range problems[:min(len(problems), sinkv1.MaxProblems)] {
		if !p.GetWarning() {
			list = append(list, p)
		}
	}
	return list
}

// report records in the configuration what the plugin has said about it. It returns any other error.
func (s *Sink) report(err error) error {
	var refused *configError
	if !errors.As(err, &refused) {
		if err != nil {
			err = fmt.Errorf("sink %s: %w", s.name, err)
		}
		return err
	}
	for _, p := range refused.problems {
		key := terminal.Line(p.GetKey())
		switch {
		case key == "":
			key = s.options.prefix
		case s.options.prefix != "":
			key = s.options.prefix + "." + key
		}
		s.cfg.Errorf(key, "%s", terminal.Line(p.GetMessage()))
	}
	return nil
}
