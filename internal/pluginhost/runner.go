package pluginhost

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/hashicorp/go-plugin/runner"

	"github.com/rtflow/pipelined/internal/process"
)

// command lets go-plugin run a process.
type command struct {
	process *process.Process
	path    string        // of the executable
	dir     string        // of its socket
	prints  io.Writer     // takes what it prints on standard output after the handshake
	drained chan struct{} // closed when both outputs are read to the end
}

var _ runner.Runner = (*command)(nil)

// Start starts the process. It waits for nothing, so the context is of no use.
func (c *command) Start(context.Context) error {
	err := c.process.Start()
	if err != nil {
		close(c.drained) // go-plugin reads nothing, and does not call Wait
	}
	return err
}

// Kill kills the process. go-plugin calls it when the handshake has failed, which is the better reason.
func (c *command) Kill(context.Context) error {
	c.process.Kill("")
	return nil
}

// Wait waits for the process to end. go-plugin calls it once, when it has read both outputs to the end.
func (c *command) Wait(context.Context) error {
	close(c.drained)
	<-c.process.Done()
	return c.process.Err()
}

// Stdout is where the handshake comes from, in a line; what follows goes to the log.
func (c *command) Stdout() io.ReadCloser {
	return &firstLine{ReadCloser: c.process.Stdout(), rest: c.prints}
}

// firstLine is a stream up to the end of its first line. The read that follows copies the rest to a writer before it says
// that the stream has ended: go-plugin reads until then, but gives up at a long line.
type firstLine struct {
	io.ReadCloser

	rest io.Writer
	past bool
}

func (f *firstLine) Read(p []byte) (int, error) {
	if f.past {
		if _, err := io.Copy(f.rest, f.ReadCloser); err != nil {
			return 0, err
		}
		return 0, io.EOF
	}
	n, err := f.ReadCloser.Read(p)
	line, rest, past := bytes.Cut(p[:n], []byte{'\n'})
	if !past {
		return n, err
	}
	f.past = true
	_, _ = f.rest.Write(rest) // it returns no error
	return len(line) + 1, nil
}

// Stderr returns standard error, which goes to the log.
func (c *command) Stderr() io.ReadCloser { return c.process.Stderr() }

// Name returns the name for go-plugin's log.
func (c *command) Name() string { return c.path }

// ID returns the number of the process.
func (c *command) ID() string { return strconv.Itoa(c.process.PID()) }

// Diagnose has nothing to add.
func (c *command) Diagnose(context.Context) string { return "" }

// PluginToHost takes the address that the plugin says it listens on: a socket in the directory it was given, nothing else.
func (c *command) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(filepath.Clean(address)) != c.dir {
		return "", "", fmt.Errorf("the plugin listens on %s %q, which is not a Unix socket in %s ($PLUGIN_UNIX_SOCKET_DIR)", network, address, c.dir)
	}
	return network, address, nil
}

// HostToPlugin is not needed: the host listens on nothing.
func (c *command) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
