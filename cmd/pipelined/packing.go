package main

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// unpacker returns what a compressed stream holds.
type unpacker func(io.Reader) (io.Reader, error)

// packing returns the unpacker for a stream that begins like that, nil if it is not compressed.
func packing(head []byte) unpacker {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return func(r io.Reader) (io.Reader, error) {
			return zstd.NewReader(r, zstd.WithDecoderConcurrency(1)) // no goroutines, so there is nothing to close
		}
	}
	return nil
}
