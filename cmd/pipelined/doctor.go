package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/internal/doctor"
	"github.com/rtflow/pipelined/internal/machine"
)

type doctorOptions struct {
	config string
	json   bool
}

func newDoctor() *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor [INTERFACE...]",
		Short: "Find out what this machine lacks, and the commands that mend it",
		Long: `doctor looks at what the sources conntrack, nflog, afpacket and xdp need of this machine, and prints a line for each thing
that it has looked at: a verdict, what was found, and where something is amiss the command that mends it. It changes nothing,
and loads no module of the kernel.

With --config it looks at what the sources of that configuration need, and nothing else. Without it a pipeline.toml here is
taken, if it has sources that need anything of the machine and no INTERFACE is named; otherwise doctor looks at all sources,
with the defaults of their options, on the interfaces that are named, or else on the network cards.

The verdicts are

  ok       as it should be
  warning  it works, and gives less than it could; without a configuration also what only one of the sources would lack
  missing  it stands in the way
  unknown  it could not be found out; the command, if there is one, tells more

The exit status is 0 if nothing is missing, 1 if something is, or if the configuration has a mistake, and 2 for a mistake in the
command line. Warnings and what is unknown leave it 0.

Capabilities and limits are those of this process. Those of a service are known to a process that runs as it does. Settings and
interfaces are those of this network namespace.`,
		Example: `  sudo pipelined doctor
  sudo pipelined doctor eth0 eth1
  sudo pipelined doctor --config /etc/pipelined/pipeline.toml --json | jq '.findings[] | select(.verdict == "missing")'`,
		ValidArgsFunction: completeInterfaces,
		RunE:              func(cmd *cobra.Command, args []string) error { return examine(cmd, args, o) },
	}
	configFlag(cmd, &o.config)
	cmd.Flags().BoolVar(&o.json, "json", false, "print the findings as JSON")
	return cmd
}

func examine(cmd *cobra.Command, interfaces []string, o doctorOptions) error {
	if slices.Contains(interfaces, "") {
		return &usageError{errors.New("the name of an interface is empty")}
	}
	m := machine.This()
	configuration, needs, err := examineConfiguration(cmd, m, interfaces, o.config)
	if err != nil {
		return err
	}
	findings := doctor.General(m)
	switch {
	case configuration != "" && len(needs) == 0:
		findings = append(findings, machine.Finding{
			Part: "configuration", Subject: "sources", Verdict: machine.OK, Text: "they need nothing of the machine",
		})
	case configuration != "":
		findings = append(findings, needs...)
	default:
		names := interfaces
		if len(names) == 0 {
			names = doctor.Cards(m)
		}
		findings = append(findings, doctor.Everything(m, names...)...)
	}
	if configuration != "" && len(interfaces) > 0 {
		findings = append(findings, doctor.Interfaces(m, interfaces...)...)
	}
	report := doctor.NewReport(configuration, findings)
	write := report.WriteText
	if o.json {
		write = report.WriteJSON
	}
	if err := write(forPeople(cmd)); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	if !report.Ready {
		return errReported
	}
	return nil
}

// examineConfiguration returns what the sources of the configuration need, and its name; "" if none is to be looked at.
func examineConfiguration(cmd *cobra.Command, m *machine.Machine, interfaces []string, path string) (string, []machine.Finding, error) {
	given := cmd.Flags().Changed("config")
	if _, err := os.Stat(path); !given && (len(interfaces) > 0 || errors.Is(err, fs.ErrNotExist)) {
		return "", nil, nil
	}
	p, err := loadPlan(cmd.Context(), cmd.ErrOrStderr(), planOptions{path: path, daemonIfSinks: true}, plan.Options{
		Log: newLogger(cmd.ErrOrStderr(), slog.LevelWarn), LookupInterface: lookupInterface,
	})
	if err != nil {
		return "", nil, err
	}
	needs := p.Examine(m)
	if err := p.host.Close(); err != nil {
		return "", nil, err
	}
	if !given && len(needs) == 0 {
		return "", nil, nil
	}
	return path, needs, nil
}
