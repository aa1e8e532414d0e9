package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/internal/logverify"
	"github.com/rtflow/pipelined/internal/unpack"
	"github.com/rtflow/pipelined/sdk/format"
)

// anyRelease takes what devices of any release send.
const anyRelease = "any"

func newVerify() *cobra.Command {
	var o logverify.Options
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check syslog messages against RFC 5424 and the messages of Juniper SRX",
		Long: `verify reads syslog messages ("-" is standard input), lines or octet-counted, plain or compressed. It accepts what devices of
any release send and collectors store, in the structured and in the plain form: a message must name its event, and its
addresses and numbers must be valid. With --release a message must be exactly as this program prints that release, according
to RFC 5424: PRI, tag, SD-ID, order and values of the parameters. verify prints each deviation with line and column, then what
was read; with sequence = true in the sink also what is missing or repeated. The exit status is 1 if a message deviates.

A column is a byte of the message, from 1. In a stream of octet-counted messages the line is the number of the message.`,
		Example: `  pipelined verify /var/log/pipelined/audit.log
  nc -l 127.0.0.1 5514 | pipelined verify --release junos-22-24 -`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return verifyFile(cmd, args[0], o) },
	}
	profiles := append([]string{anyRelease}, logverify.Profiles()...)
	cmd.Flags().StringVar(&o.Profile, "release", anyRelease, "`release` the messages must be of, exactly: "+strings.Join(logverify.Profiles(), ", "))
	cmd.Flags().StringVar(&o.SDID, "sd-id", "", "`ID` that the structured data must have (default: Juniper's, of any platform)")
	cmd.Flags().BoolVar(&o.AnyPriority, "any-priority", false, "take every PRI: the sink sets priority")
	if err := cmd.RegisterFlagCompletionFunc("release", cobra.FixedCompletions(profiles, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag was added above
	}
	return cmd
}

func verifyFile(cmd *cobra.Command, path string, o logverify.Options) (err error) {
	switch {
	case o.Profile == anyRelease:
		o.Profile = ""
	case !slices.Contains(logverify.Profiles(), o.Profile):
		var unknown *format.OptionError // which proposes a profile; releases have the same names
		if _, err := format.New(format.Options{Profile: o.Profile}); errors.As(err, &unknown) {
			return &usageError{fmt.Errorf("--release: %s", unknown.Reason)}
		}
		return &usageError{fmt.Errorf("--release: unknown %q", o.Profile)}
	}
	var in io.Reader = cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	packed := bufio.NewReader(in)
	in = packed
	head, _ := packed.Peek(unpack.HeadSize) // a shorter stream is not compressed
	if compressed := unpack.Detect(head); compressed != nil {
		if in, err = compressed.NewReader(packed); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	out := bufio.NewWriter(forPeople(cmd))
	defer func() { err = errors.Join(err, out.Flush()) }()
	result, err := logverify.All(in, o, func(line int, p logverify.Problem) {
		fmt.Fprintf(out, "%s:%d:%v\n", path, line, p)
		if path == "-" {
			_ = out.Flush() // the reader may be waiting for it; out keeps an error until the end
		}
	})
	if writeErr := result.WriteText(out); writeErr != nil {
		return fmt.Errorf("standard output: %w", writeErr)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	case result.Problems > 0:
		return errReported
	}
	return nil
}
