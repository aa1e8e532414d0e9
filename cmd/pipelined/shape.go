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

// onTerminal reports whether the command prints on a terminal.
func onTerminal(cmd *cobra.Command) bool {
	return cmd.OutOrStdout() == os.Stdout && term.IsTerminal(int(os.Stdout.Fd()))
}

// shape returns how events are printed, or what is wrong with the flags.
func (o *readOptions) shape() (format.Options, error) {
	f := format.Options{Format: o.format, Profile: o.profile}
	if f.Format == "" {
		f.Format = format.RFC5424
		if o.toTerminal {
			f.Format = format.Text
		}
	}
	switch o.colour {
	case "auto":
		f.Colour = o.toTerminal && terminal.Colours(os.Stdout)
	case "always":
		f.Colour = true
	case "never":
	default:
		return f, fmt.Errorf("--colour: unknown %q; known are %s", o.colour, strings.Join(colours, ", "))
	}
	if f.Format == format.Frames && o.toTerminal {
		return f, errors.New("frames are binary and standard output is a terminal: send them to a file or a pipe")
	}
	_, err := format.New(f)
	return f, err
}
