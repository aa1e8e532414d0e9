package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rtflow/pipelined/internal/unpack"
	"github.com/rtflow/pipelined/sdk/event"
)

// openLog opens a log, plain or compressed.
func openLog(path string) (io.ReadCloser, error) {
	f := os.Stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return nil, err
		}
	}
	b := bufio.NewReader(f)
	head, err := b.Peek(unpack.HeadSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	var r io.Reader = b
	if event.LooksLikeFrames(head) {
		return nil, errors.Join(fmt.Errorf("%s: it holds frames; 'pipelined read -f rfc5424' makes a log of them", path), f.Close())
	}
	if compressed := unpack.Detect(head); compressed != nil {
		if r, err = compressed.NewReader(b); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
		}
	}
	return struct {
		io.Reader
		io.Closer
	}{r, f}, nil
}
