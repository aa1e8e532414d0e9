package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

// readConfig is the configuration of read where there is no file.
//
//go:embed readconfig.toml
var readConfig []byte

// configOfRead returns how to plan with the configuration at path, or with the built-in one if there is no such file and the
// user has not named it. If the user has not named a configuration, standard error says that the built-in one is used, or,
// on a terminal, that the file is.
func configOfRead(cmd *cobra.Command, path string) planOptions {
	if cmd.Flags().Changed("config") {
		return planOptions{path: path}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		if stderrIsTerminal(cmd) {
			fmt.Fprintf(cmd.ErrOrStderr(), "pipelined: the configuration is %s\n", path)
		}
		return planOptions{path: path}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "pipelined: there is no %s here: private addresses are zone inside, all others outside, with two screens and no policies."+
		" -c FILE names a configuration; 'pipelined sample > %s' writes one to begin with\n", path, path)
	return planOptions{path: "built-in configuration", text: readConfig}
}
