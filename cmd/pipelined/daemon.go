package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// configuration reads the configuration of the daemon. A missing file is an error only if the user has named it. Otherwise file holds
// the defaults, and found is false.
func (d *daemonFlags) configuration(cmd *cobra.Command) (file *config.File, found bool, err error) {
	_, err = os.Stat(d.config)
	file, problems := config.Load(d.config)
	if problems.Err() == nil {
		return file, true, nil
	}
	if errors.Is(err, fs.ErrNotExist) && !cmd.Flags().Changed("config") {
		return file, false, nil
	}
	for _, problem := range problems.All() {
		fmt.Fprintln(cmd.ErrOrStderr(), problem)
	}
	return nil, false, errReported
}

// find returns a client of the daemon, and its configuration if that was read. Where the configuration does not name the socket, the
// daemon at the usual places is the right one only if it runs that configuration.
func (d *daemonFlags) find(ctx context.Context, cmd *cobra.Command) (*control.Client, *config.File, error) {
	if d.control != "" {
		return control.NewClient(d.control), nil, nil
	}
	file, found, err := d.configuration(cmd)
	if err != nil {
		if errors.Is(err, errReported) {
			err = errors.New("the control socket is not known: mend the configuration, or give --control")
		}
		return nil, nil, err
	}
	if path := file.Service.Control; path != nil {
		if *path == "" {
			return nil, file, fmt.Errorf("%s: service.control is empty: this pipelined has no control socket", d.config)
		}
		return control.NewClient(*path), file, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var why []string
	for _, path := range control.UsualPaths() {
		client := control.NewClient(path)
		id, err := client.Daemon(ctx)
		switch {
		case err != nil:
			why = append(why, err.Error())
		case found && !sameFile(id.Config, d.config):
			why = append(why, fmt.Sprintf("%s: this pipelined runs %s, not %s: give --control %s to ask it all the same", path,
				terminal.Text(id.Config), d.config, path))
		default:
			return client, file, nil
		}
	}
	return nil, file, errors.New(strings.Join(why, "; "))
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
