// Package nflog is the live source of what the rules of an nftables or iptables firewall log, with the rule and its verdict.
//
// A rule sends packets to a group of NFLOG, and the kernel sends each of them as a netlink message to the one socket that has bound
// the group. The prefix that the rule gives to the packet is all that is known of the rule: patterns find a name and an action in it.
//
//	plugin.go    what is registered; options to source
//	options.go   the table: defaults and checks
//	source.go    the socket and the groups that it binds
//	config.go    the messages that bind a group, and why the kernel refuses one
//	read.go      messages to events
//	loss.go      packets that the kernel could not hand over
//	message.go   one message of the kernel
//	prefix.go    prefix to rule and action
//	status.go    groups and counters for operators and metrics
package nflog
