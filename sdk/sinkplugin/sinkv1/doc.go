// Package sinkv1 is version 1 of the protocol between pipelined and a sink in a process of its own.
//
// It holds the messages and the service that are generated from sink_v1.proto, what both sides have to agree on before the
// first message, and the encoding of names. It implements neither side, and imports nothing of this module but sdk/event.
//
//go:generate protoc --plugin=protoc-gen-go=../../../bin/protoc-gen-go --plugin=protoc-gen-go-grpc=../../../bin/protoc-gen-go-grpc -I .. --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative sink_v1.proto
//go:generate protoc -I .. --python_out=../../../examples/python sink_v1.proto
package sinkv1
