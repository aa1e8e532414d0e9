// Package application knows applications: names for protocols and ports. It tells which predefined application a packet
// belongs to, for the service name of a log line, and which packets an application of a policy means.
//
// It makes no decisions about packets and reads no files: a [Definition] carries tags, and whoever holds the
// configuration decodes it. A [Table] is immutable and safe for concurrent use.
package application
