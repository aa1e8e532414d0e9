package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rtflow/pipelined/internal/terminal"
	"github.com/rtflow/pipelined/sdk/format"
)

// colours are the values of --colour.
var colours = []string{"auto", "always", "never"}

// eventFlags are the flags of commands that print events: read and receive. All of them print the format text on a terminal
// and rfc5424 otherwise, unless --format names a format.
type eventFlags struct{ format, profile, colour string }

// add adds the flags to a command.
func (e *eventFlags) add(cmd *cobra.Command) {
	e.addFormats(cmd, "f", []string{format.Text, format.RFC5424, format.RFC3164, format.JSON, format.Frames})
}

// addLines adds the flags of a command that prints nothing but lines, for whose formats there is no letter.
func (e *eventFlags) addLines(cmd *cobra.Command) {
	e.addFormats(cmd, "", []string{format.Text, format.RFC5424, format.RFC3164, format.JSON})
}

func (e *eventFlags) addFormats(cmd *cobra.Command, letter string, names []string) {
	f := cmd.Flags()
	last := len(names) - 1
	f.StringVarP(&e.format, "format", letter, "", strings.Join(names[:last], ", ")+" or "+names[last]+"; without it text on a terminal, else rfc5424")
	f.StringVar(&e.colour, "colour", "auto", "colours in the format text: auto (on a terminal, unless NO_COLOR is set), always or never")
	f.StringVar(&e.profile, "profile", format.Junos20, "releases that syslog lines imitate: "+strings.Join(format.Profiles(), ", "))
	fixedCompletions(cmd, map[string][]string{"format": names, "profile": format.Profiles(), "colour": colours})
}

// options returns how events are printed on standard output, which may be a terminal. The hostname is not set.
func (e *eventFlags) options(toTerminal bool) (format.Options, error) {
	f := format.Options{Format: e.format, Profile: e.profile}
	if f.Format == "" {
		f.Format = format.RFC5424
		if toTerminal {
			f.Format = format.Text
		}
	}
	switch e.colour {
	case "auto":
		f.Colour = toTerminal && terminal.Colours(os.Stdout)
	case "always":
		f.Colour = true
	case "never":
	default:
		return f, fmt.Errorf("--colour: unknown %q; known are %s", e.colour, strings.Join(colours, ", "))
	}
	if f.Format == format.Frames && toTerminal {
		return f, errors.New("frames are binary and standard output is a terminal: send them to a file or a pipe")
	}
	_, err := format.New(f)
	return f, err
}

// stdoutIsTerminal reports whether the command prints on a terminal.
func stdoutIsTerminal(cmd *cobra.Command) bool {
	return cmd.OutOrStdout() == os.Stdout && term.IsTerminal(int(os.Stdout.Fd()))
}

// stderrIsTerminal reports whether standard error of the command is a terminal.
func stderrIsTerminal(cmd *cobra.Command) bool {
	w, ok := cmd.ErrOrStderr().(*terminal.Writer)
	return ok && w.IsTerminal()
}

// fixedCompletions adds the completions of flags that exist.
func fixedCompletions(cmd *cobra.Command, flags map[string][]string) {
	for flag, values := range flags {
		if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // the caller has just added the flag
		}
	}
}
