// Package config turns pipeline.toml into validated structs and every mistake in it into a line that says where it is
// and what would be right.
//
// It knows the file, its drop-in directory, the positions of keys, and the defaults and limits of what the core itself
// is told. It does not know which plugins exist or what their tables mean (a plugin decodes its own [Section]), and it
// starts nothing.
//
// A mistake never ends the reading: all of them are collected in [Problems]. Only a syntax error hides what comes after
// it in the same file.
//
// The package is importable without a compatibility promise. Nothing in it is safe for concurrent use.
package config
