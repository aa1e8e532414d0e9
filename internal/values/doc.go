// Package values holds types for values of options: sizes, permission bits, prefixes.
//
// Each decodes itself from a configuration, and says what would be right where it cannot. What package internal/table reads by
// itself (numbers, strings, a time.Duration) needs no type of its own.
package values
