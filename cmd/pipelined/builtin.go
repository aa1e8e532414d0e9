package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

// builtinConfig is what read uses without a configuration.
//
//go:embed builtin.toml
var builtinConfig []byte

// configOrBuiltin returns how to plan with the configuration at path, or with the built-in one if there is no such file and nobody has
// named it. That is said on standard error.
func configOrBuiltin(cmd *cobra.Command, path string) how {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) || cmd.Flags().Changed("config") {
		return how{path: path}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "pipelined: there is no %s here: private addresses are zone inside, all others outside, with two screens and no policies."+
		" -c FILE names a configuration; 'pipelined sample > %s' writes one to begin with\n", path, path)
	return how{path: "built-in configuration", text: builtinConfig}
}
