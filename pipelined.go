// Package pipelined holds the configuration that ships with the program.
package pipelined

import _ "embed"

// Sample is pipeline.toml: a commented configuration that runs on the capture in testdata.
//
//go:embed pipeline.toml
var Sample string
