// Package config reads pipeline.toml and its drop-in directory, and reports every mistake with its place.
//
// It knows the syntax, the places of keys, and which tables there are. The options of a table belong to the package that
// uses them. That package defines a struct with a `toml` tag for each key, sets its defaults, and checks its values (see
// package internal/table): [sessions] is session.Options, [replay] replay.Options, [admission] admission.Options, and
// [zones.NAME] is read by package zone. [Node], [Service], [Pipeline] and what all components have in common are defined here.
// The rest of a component's table belongs to its plugin, which gets it as a [Section]. This package does not know
// which plugins exist, and starts nothing.
//
// To add an option, add a field to the struct of its table, its default and its check beside it, and a row to
// docs/configuration.md. To add a table, add its name to singleTables or namedTables, and read it in [tables.file].
//
// A mistake does not end the reading: all of them are collected in [Problems]. A syntax error hides what comes after it in
// the same file.
//
// The package may change without notice. Nothing in it is safe for concurrent use.
package config
