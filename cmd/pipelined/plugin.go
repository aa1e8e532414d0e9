package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/internal/pluginhost"
	"github.com/rtflow/pipelined/internal/pluginkit"
	"github.com/rtflow/pipelined/internal/safefile"
)

func newPlugin() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "Write a sink of your own, and try it",
		Args:  oneOfCommands,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPluginNew(), newPluginTest())
	return cmd
}

// released matches the versions that go.mod can name.
var released = regexp.MustCompile(`^v\d+\.\d+\.\d+$`)

func newPluginNew() *cobra.Command {
	var m pluginkit.Module
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a Go module with a sink that works, and its test",
		Long: `new writes a Go module into the directory pipelined-sink-NAME: a sink that appends to a file, its options, its test, and
test.toml, the options for plugin test. Put your destination in the place of the file.`,
		Example: `  pipelined plugin new webhook
  cd pipelined-sink-webhook && go mod tidy && go test ./... && go build
  pipelined plugin test --config test.toml ./pipelined-sink-webhook`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			m.Name = args[0]
			if m.Version = "v0.0.0"; released.MatchString(version) {
				m.Version = version
			} else if m.Replace == "" {
				return &usageError{fmt.Errorf("this is no release (%s) whose version go.mod could name: --replace DIRECTORY says where the source of pipelined is", version)}
			}
			if m.Replace != "" {
				path, err := filepath.Abs(m.Replace)
				if err != nil {
					return err
				}
				m.Replace = path
			}
			dir, err := pluginkit.New(m)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(forPeople(cmd), "%s: a sink that works. Next:\n  cd %s && go mod tidy && go test ./... && go build\n", dir, dir)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&m.Dir, "dir", "", "`DIRECTORY` to write to; pipelined-sink-NAME if not given")
	f.StringVar(&m.Path, "module", "", "`PATH` of the module; pipelined-sink-NAME if not given")
	f.StringVar(&m.Replace, "replace", "", "`DIRECTORY` with the source of pipelined, to be used instead of the published module")
	return cmd
}

func newPluginTest() *cobra.Command {
	o := pluginkit.Options{ConfigName: "no configuration"}
	var config string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "test [flags] COMMAND [ARGUMENT...]",
		Short: "Try an executable against the contract of plugins",
		Long: `test starts the executable as the daemon does, over and over, and tries it: handshake, configuration, order and
acknowledgements, drain, a stop in the middle, malformed input, a million records, kill and restart. It prints what
passed and what did not, and why. The exit status is 1 if a MUST failed.

Records of a made-up firewall go to the destination that the configuration names: use one for tests.`,
		Example: `  pipelined plugin test ./my-sink
  pipelined plugin test --config sink.toml ./my-sink
  pipelined plugin test --only config -v node my-sink.js`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := exec.LookPath(args[0])
			if err != nil && !errors.Is(err, exec.ErrDot) {
				return err
			}
			if path, err = filepath.Abs(path); err != nil {
				return err
			}
			o.Command = append([]string{path}, args[1:]...)
			if config != "" {
				o.ConfigName = config
				if o.Config, err = os.ReadFile(config); err != nil {
					return err
				}
			}
			if verbose {
				o.Log = newLogger(cmd.ErrOrStderr(), slog.LevelInfo)
			}
			return testPlugin(cmd, o)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // what follows the command is its own
	f.StringVarP(&config, "config", "c", "", "`FILE` with the plugin's options: a sink's table of pipeline.toml, [sinks.NAME] or bare")
	f.IntVar(&o.Records, "records", 1_000_000, "how many records the check with a great many has")
	f.DurationVar(&o.Patience, "timeout", time.Minute, "how long one check may take")
	f.StringVar(&o.Only, "only", "", "run the checks whose names contain `TEXT`")
	f.BoolVarP(&verbose, "verbose", "v", false, "show what the plugin prints")
	if err := cmd.MarkFlagFilename("config", "toml"); err != nil {
		panic(err) // the flag was added above
	}
	return cmd
}

func testPlugin(cmd *cobra.Command, o pluginkit.Options) (err error) {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.RuntimeDir, err = testDir(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.RuntimeDir)) }()
	return pluginkit.Test(ctx, forPeople(cmd), o)
}

// testDir makes a directory for sockets: in the daemon's runtime directory, or else a temporary one that only this user can
// enter.
func testDir() (string, error) {
	if dir, err := runtimeTestDir(); err == nil {
		return dir, nil
	}
	return os.MkdirTemp("", "pipelined-test-")
}

func runtimeTestDir() (string, error) {
	base, err := pluginhost.RuntimeDir()
	if err != nil {
		return "", err
	}
	open, err := safefile.OpenDir(base, safefile.Options{Make: 0o711})
	if err != nil {
		return "", err
	}
	defer func() { _ = open.Close() }() // nothing was written
	dir, err := os.MkdirTemp(open.Path(""), "test-")
	if err != nil || os.Geteuid() != 0 {
		return dir, err
	}
	return dir, os.Chmod(dir, 0o711) // a plugin of root's may run as another user, who must reach its socket
}
