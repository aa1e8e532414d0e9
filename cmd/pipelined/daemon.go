package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/control"
	"github.com/rtflow/pipelined/internal/terminal"
)

// daemonFlags say which daemon a command asks.
type daemonFlags struct{ config, control string }

func (d *daemonFlags) add(cmd *cobra.Command) {
	configFlag(cmd, &d.config)
	cmd.Flags().StringVar(&d.control, "control", "", "`SOCKET` to ask at, instead of what the configuration says")
	if err := cmd.MarkFlagFilename("control"); err != nil {
		panic(err) // the flag was added in the line above
	}
}

// placePatience is how long the daemon at one of several places may take to say which it is.
const placePatience = 3 * time.Second

// find returns a client of the daemon, and its configuration if that was read and has no mistake. A daemon that is found by a configuration is
// the right one only if it runs that.
func (d *daemonFlags) find(ctx context.Context, cmd *cobra.Command) (*control.Client, *config.File, error) {
	if d.control != "" {
		return control.NewClient(d.control), nil, nil
	}
	errs := cmd.ErrOrStderr()
	_, missing := os.Stat(d.config)
	file, problems := config.Load(d.config)
	switch err := problems.Err(); {
	case err != nil && errors.Is(missing, fs.ErrNotExist) && !cmd.Flags().Changed("config"):
		client, err := d.atPlaces(ctx, errs, control.UsualPaths(), false) // any daemon: nobody has named a file
		return client, file, err
	case err != nil:
		places := control.UsualPaths()
		path := writtenControl(d.config)
		if file.Service.Control != nil {
			path = *file.Service.Control
		}
		if filepath.IsAbs(path) && !slices.Contains(places, path) {
			places = slices.Insert(places, 0, path)
		}
		client, err := d.atPlaces(ctx, errs, places, true)
		if err != nil {
			for _, problem := range problems.All() {
				fmt.Fprintln(errs, problem)
			}
			return nil, nil, fmt.Errorf("%s has mistakes, and no pipelined was found that runs it: mend it, or give --control: %w", d.config, err)
		}
		fmt.Fprintf(errs, "%s has mistakes, which pipelined check shows: asking at %s\n", d.config, client.Path())
		return client, nil, nil
	}
	if path := file.Service.Control; path != nil {
		if *path == "" {
			return nil, file, fmt.Errorf("%s: service.control is empty: this pipelined has no control socket", d.config)
		}
		client, err := d.atPlaces(ctx, errs, []string{*path}, true)
		return client, file, err
	}
	client, err := d.atPlaces(ctx, errs, control.UsualPaths(), true)
	return client, file, err
}

// controlKey is the key of the control socket as it is usually written.
var controlKey = regexp.MustCompile(`(?m)^\s*(?:service\s*\.\s*)?control\s*=\s*(?:"([^"\\\n]+)"|'([^'\n]+)')`)

// writtenControl returns what a file that is no TOML seems to say of the control socket, "" if nothing. Who answers there says what it runs.
func writtenControl(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if found := controlKey.FindSubmatch(text); err == nil && found != nil {
		return string(found[1]) + string(found[2])
	}
	return ""
}

// atPlaces returns a client of the first daemon that answers at one of the places and runs the configuration, if it must. The error says what
// was wrong at each; what hangs is told in any case, as it may be the one that is meant.
func (d *daemonFlags) atPlaces(ctx context.Context, errs io.Writer, places []string, must bool) (*control.Client, error) {
	var why, hung []string
	for _, path := range places {
		client := control.NewClient(path)
		asking, cancel := context.WithTimeout(ctx, placePatience)
		id, err := client.Daemon(asking)
		late := asking.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err != nil && late:
			hung = append(hung, fmt.Sprintf("%s: the pipelined there does not answer within %v", path, placePatience))
			why = append(why, hung[len(hung)-1])
		case err != nil:
			why = append(why, err.Error())
		case must && !sameFile(id.Config, d.config):
			why = append(why, fmt.Sprintf("%s: this pipelined runs %s, not %s: give --control %s to ask it all the same", path,
				terminal.Text(id.Config), d.config, path))
		default:
			for _, place := range hung {
				fmt.Fprintln(errs, place)
			}
			return client, nil
		}
	}
	return nil, errors.New(strings.Join(why, "; "))
}

// sameFile reports whether two paths lead to one file, or are the same where that cannot be told.
func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	second, errB := os.Stat(b)
	if err == nil && errB == nil {
		return os.SameFile(first, second)
	}
	absolute, err := filepath.Abs(b)
	return err == nil && absolute == a
}
