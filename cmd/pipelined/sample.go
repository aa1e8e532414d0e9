package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined"
	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/pluginhost"
	"github.com/rtflow/pipelined/internal/spelling"
)

func newSample() *cobra.Command {
	return &cobra.Command{
		Use:   "sample [NAME]",
		Short: "Print a commented configuration: the whole file, that of a router, or the table of one plugin",
		Args:  arguments(cobra.MaximumNArgs(1)),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			samples, err := allSamples()
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			return sampleNames(samples), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				_, err := io.WriteString(cmd.OutOrStdout(), pipelined.Sample)
				return err
			}
			samples, err := allSamples()
			if err != nil {
				return err
			}
			text, ok := samples[args[0]]
			if !ok {
				return &usageError{fmt.Errorf("%s", spelling.Unknown("sample", args[0], sampleNames(samples)))}
			}
			_, err = io.WriteString(cmd.OutOrStdout(), text)
			return err
		},
	}
}

// allSamples returns the whole files and the samples of all plugins by name.
func allSamples() (map[string]string, error) {
	r, err := everything(pluginhost.New(pluginhost.Options{}), config.DefaultPluginDir)
	if err != nil {
		return nil, err
	}
	samples := map[string]string{"pipeline": pipelined.Sample, "router": pipelined.Router, "bridge": pipelined.Bridge}
	for name, p := range r.Sources {
		samples[name] = p.Sample
	}
	for name, p := range r.Hooks {
		samples[name] = p.Sample
	}
	for name, p := range r.Sinks {
		samples[name] = p.Sample
	}
	return samples, nil
}

func sampleNames(samples map[string]string) []string {
	names := make([]string, 0, len(samples))
	for name := range samples {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
