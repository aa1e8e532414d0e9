package main

import (
	"maps"
	"os"
	"slices"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/pluginhost"
	"github.com/rtflow/pipelined/plugins/filterlog"
	"github.com/rtflow/pipelined/plugins/policydeny"
	"github.com/rtflow/pipelined/plugins/screendrop"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sinks/file"
	"github.com/rtflow/pipelined/sinks/syslog"
	"github.com/rtflow/pipelined/sinks/unixsock"
	"github.com/rtflow/pipelined/sources/afpacket"
	"github.com/rtflow/pipelined/sources/capture"
	"github.com/rtflow/pipelined/sources/conntrack"
	"github.com/rtflow/pipelined/sources/nflog"
	"github.com/rtflow/pipelined/sources/xdp"
)

// builtins returns the plugins that are compiled in, and extra. It is the only list of them.
func builtins(extra ...sdk.SinkPlugin) (*plan.Registry, error) {
	return plan.NewRegistry(
		[]source.Plugin{capture.Plugin(os.Stdin), afpacket.Plugin(), conntrack.Plugin(), xdp.Plugin(), nflog.Plugin()},
		[]hook.Plugin{screendrop.Plugin(), filterlog.Plugin(), policydeny.Plugin()},
		append([]sdk.SinkPlugin{file.Plugin(), file.StdoutPlugin(), syslog.Plugin(), unixsock.Plugin()}, extra...),
	)
}

// everything returns the plugins that are compiled in, and the executables in the plugin directory.
func everything(host *pluginhost.Host, pluginDir string) (*plan.Registry, error) {
	compiledIn, err := builtins(host.Exec())
	if err != nil || pluginDir == "" {
		return compiledIn, err
	}
	found, err := host.Discover(pluginDir, slices.Sorted(maps.Keys(compiledIn.Sinks)))
	if err != nil {
		return nil, err
	}
	return builtins(append(found, host.Exec())...)
}
