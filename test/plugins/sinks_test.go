package plugins

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/eventstream"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// promptly keeps the race detector from sleeping for a second at the end of a process.
const promptly = "\nprocess.env = [\"GORACE=atexit_sleep_ms=0\"]\n"

// TestOwnSinks runs the sinks of this project as processes: the same values that are compiled in.
func TestOwnSinks(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]func(t *testing.T) string{
		"file": func(t *testing.T) string {
			return fmt.Sprintf("path = %q\nformat = \"frames\"", filepath.Join(t.TempDir(), "out"))
		},
		"syslog":   func(t *testing.T) string { return fmt.Sprintf("address = %q", "tcp://"+collect(t)) },
		"unixsock": func(t *testing.T) string { return fmt.Sprintf("path = %q", receive(t)) },
	}
	for name := range served() {
		t.Run(name, func(t *testing.T) {
			table := func(t *testing.T) string { return tables[name](t) + promptly }
			sinktest.Conform(t, func(t *testing.T) sdk.Sink { return open(t, table(t), exe, name) })
			conform(t, table(t), 50_000, exe, name)
		})
	}
}

// receive takes the event stream of every producer that connects to a socket, each from its beginning, and returns the path.
func receive(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	path := filepath.Join(runtimeDir(t), "events.sock")
	accept(t, "unix", path, func(conn net.Conn) { receiveOne(ctx, conn) })
	t.Cleanup(cancel)
	return path
}

// collect takes what every sender sends over TCP, and returns the address.
func collect(t *testing.T) string {
	t.Helper()
	return accept(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		defer conn.Close()
		_, _ = io.Copy(io.Discard, conn) // until its sender has gone
	})
}

// accept takes every connection until the test ends, and returns the address.
func accept(t *testing.T, network, address string, take func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { take(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// receiveOne takes one connection to its end.
func receiveOne(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer conn.Close()
	r := new(eventstream.Receiver)
	given := false
	_ = r.Connect(ctx, func(ctx context.Context) (net.Conn, error) { // it ends with its context
		if given {
			cancel()
			return nil, context.Canceled
		}
		given = true
		return conn, nil
	})
}

// TestSameBytes writes the same records with the sink in this process and in another: the files are the same.
func TestSameBytes(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var files [2]string
	for i, name := range []string{"inside", "outside"} {
		path := filepath.Join(dir, name)
		var sink sdk.Sink
		if i == 0 {
			cfg := sinktest.Config(t, fmt.Sprintf(`{"path": %q}`, path))
			sink = served()["file"].Configure(cfg, sdk.Env{Hostname: "fw1"})
		} else {
			sink = open(t, fmt.Sprintf("path = %q", path), exe, "file")
		}
		s := sinktest.NewStream(t)
		s.Append(sinktest.Records(1, 5000)...)
		s.Drain()
		if err := s.Run(t.Context(), sink); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = string(text)
	}
	if files[0] == "" || files[0] != files[1] {
		t.Errorf("%d bytes inside, %d outside, and they differ", len(files[0]), len(files[1]))
	}
}
