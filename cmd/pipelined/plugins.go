package main

import (
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/pluginhost"
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
