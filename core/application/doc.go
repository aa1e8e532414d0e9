// Package application knows applications: names for protocols and ports. It tells which predefined application a packet
// belongs to, for the service name of a log line, and which packets an application of a policy means.
//
// What lives here: the predefined `junos-*` applications, the applications and application sets that a user defines, and
// the immutable [Table] of both. What never may: decisions about packets, configuration files (a [Definition] carries
// tags, and whoever holds the file decodes it), and anything that changes after the table is built.
package application
