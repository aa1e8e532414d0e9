// Package pipelined holds the configurations that ship with the program.
package pipelined

import _ "embed"

// Sample is pipeline.toml: a commented configuration that runs on the capture in testdata.
//
//go:embed pipeline.toml
var Sample string

// Router is router.toml: a configuration for a router that is in use.
//
//go:embed router.toml
var Router string

// Bridge is bridge.toml: a configuration for a firewall between two interfaces.
//
//go:embed bridge.toml
var Bridge string
