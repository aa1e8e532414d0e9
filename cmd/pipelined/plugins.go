package main

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined"
	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/pluginhost"
	"github.com/rtflow/pipelined/internal/spelling"
)

func newPlugins() *cobra.Command {
	return &cobra.Command{
		Use:   "plugins",
		Short: "List the sources, hooks and sinks that are compiled in or in the plugin directory",
		Args:  arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := everything(pluginhost.New(pluginhost.Options{}), config.DefaultPluginDir)
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(forPeople(cmd), 0, 0, 2, ' ', 0)
			for _, name := range slices.Sorted(maps.Keys(r.Sources)) {
				fmt.Fprintf(t, "source\t%s\t%s\n", name, r.Sources[name].Summary)
			}
			for _, name := range slices.Sorted(maps.Keys(r.Hooks)) {
				fmt.Fprintf(t, "hook\t%s\t%s\n", name, r.Hooks[name].Summary)
			}
			for _, name := range slices.Sorted(maps.Keys(r.Sinks)) {
				fmt.Fprintf(t, "sink\t%s\t%s\n", name, r.Sinks[name].Summary)
			}
			return t.Flush()
		},
	}
}

func newSample() *cobra.Command {
	return &cobra.Command{
		Use:   "sample [NAME]",
		Short: "Print a commented configuration: the whole file, or the table of one plugin",
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

// allSamples returns the samples of all plugins by name.
func allSamples() (map[string]string, error) {
	r, err := everything(pluginhost.New(pluginhost.Options{}), config.DefaultPluginDir)
	if err != nil {
		return nil, err
	}
	samples := map[string]string{"pipeline": pipelined.Sample}
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

func versionLine() string {
	return fmt.Sprintf("pipelined %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), versionLine())
			return err
		},
	}
}
