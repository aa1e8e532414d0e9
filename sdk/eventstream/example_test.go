package eventstream_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// A whole receiver: it prints who was denied, and notes in a file how far it has come.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx, stop := context.WithCancel(context.Background())
	noted := filepath.Join(dir, "position")

	var from eventstream.Position
	if text, err := os.ReadFile(noted); err == nil {
		fmt.Sscan(string(text), &from.Epoch, &from.Seq)
	}
	r := &eventstream.Receiver{From: from, Handler: eventstream.Handler{
		Record: func(_ context.Context, rec *event.Record) error {
			if rec.Kind() == event.PolicyDeny {
				fmt.Println(rec.Seq(), rec.Src(), "may not connect to", rec.Dst(), "port", rec.DstPort())
			}
			return nil // what it has returned from is acknowledged
		},
		Gap: func(g eventstream.Gap) { fmt.Println("records", g.From, "to", g.To, "are missing:", g.By) },
		Commit: func(_ context.Context, pos eventstream.Position) error {
			stop() // an example ends; leave this out
			return os.WriteFile(noted, fmt.Append(nil, pos.Epoch, " ", pos.Seq), 0o600)
		},
	}}
	path := filepath.Join(dir, "events.sock")
	go produce(path) // in its place: the sink "unixsock" of a pipelined
	fmt.Println(r.Listen(ctx, path))
	// Output:
	// 42 203.0.113.249 may not connect to 10.0.186.147 port 23
	// records 43 to 44 are missing: not announced
	// 45 203.0.113.252 may not connect to 10.0.109.115 port 23
	// context canceled
}

// produce sends two records, with a gap between them.
func produce(path string) {
	for {
		conn, err := net.Dial("unix", path)
		if err != nil {
			continue // not there yet
		}
		_, _ = conn.Write(piece(hello(7, 42), deny(42), deny(45)))
		_, _ = conn.Read(make([]byte, event.HeaderSize))
		conn.Close()
		return
	}
}
