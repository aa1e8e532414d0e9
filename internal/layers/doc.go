// Package layers holds the rules for imports between the packages of the project, as a test. The table of packages in
// docs/design.md is generated from it.
package layers

//go:generate go test . -run TestDesignPage -update
