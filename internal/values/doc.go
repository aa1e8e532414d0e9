// Package values holds types for values of options, and reads them with messages that say what would be right: sizes,
// permission bits, prefixes.
//
// They decode themselves from a configuration. An option whose value is one of these is a field of that type; what package
// internal/table reads by itself (numbers, strings, a time.Duration) needs none.
package values
