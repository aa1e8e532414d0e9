// Package config turns pipeline.toml into validated structs and every mistake in it into a line that says where it is
// and what would be right.
//
// What lives here: reading the file and its drop-in directory, positions of keys, decoding of tables, the defaults and
// limits of everything the core itself is told. What never may: what a plugin's own table means (the plugin decodes its
// [Section]), which plugins exist, starting anything.
//
// A mistake never ends the reading: all of them are collected in [Problems]. Only a syntax error hides what comes after
// it in the same file.
//
// The package is importable without a compatibility promise. Nothing in it is safe for concurrent use.
package config
