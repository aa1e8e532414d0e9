// Package application resolves applications, names for protocols and ports: those of Junos and those of the user.
//
// It returns the predefined application of a packet, for the service name of a log line, and matches packets
// with the application of a policy.
//
// A [Definition] is the table of a user's application. A [Table] is immutable and safe for concurrent use.
package application
