// Package sinkplugin makes a sink an executable that pipelined runs as a process of its own.
//
// The whole main of such an executable:
//
//	func main() { sinkplugin.Serve(mysink.Plugin()) }
//
// The value that Serve takes is the one that a program compiles in: the sink does not see the difference. Records arrive
// in batches over one gRPC stream, acknowledgements go back over it, and a window of credits bounds what waits in
// between. docs/plugins.md has the contract and the protocol, sink_v1.proto the messages.
//
// It is the plugin's side of the protocol, and imports nothing of ours but sdk/...; the daemon's side is internal/pluginhost.
package sinkplugin
