package stream

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// epoch is that of every stream of this package.
const epoch = 42

// entry is what a journal holds of a record.
type entry struct {
	Seq  uint64
	Kind uint64
	Time int64                      // says which event it is; of a loss record nothing
	Lost [event.NumKinds - 1]uint64 // of a loss record
}

var entrySize = int64(binary.Size(entry{}))

// journalReceiver is a process that receives into a journal: a file with an entry per record, written before the
// acknowledgement. It goes on where the journal ends.
func journalReceiver() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	path, journal := os.Args[1], os.Args[2]
	f, err := os.OpenFile(journal, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		fail(err)
	}
	var last entry
	st, err := f.Stat()
	if err != nil {
		fail(err)
	}
	whole := st.Size() / entrySize * entrySize // a kill may have torn the last one: it was not acknowledged
	if err := f.Truncate(whole); err != nil {
		fail(err)
	}
	if whole > 0 {
		if err := binary.Read(io.NewSectionReader(f, whole-entrySize, entrySize), binary.LittleEndian, &last); err != nil {
			fail(err)
		}
	}
	if _, err := f.Seek(whole, io.SeekStart); err != nil {
		fail(err)
	}
	var pending []byte
	r := &eventstream.Receiver{
		From: eventstream.Position{Epoch: epoch, Seq: event.Seq(last.Seq)},
		Handler: eventstream.Handler{
			Record: func(_ context.Context, rec *event.Record) error {
				e := entry{Seq: uint64(rec.Seq()), Kind: uint64(rec.Kind()), Time: rec.Time()}
				if rec.Kind() == event.Loss {
					e.Lost = rec.LossCounts()
				}
				pending, err = binary.Append(pending, binary.LittleEndian, &e)
				return err
			},
			Commit: func(context.Context, eventstream.Position) error {
				_, err := f.Write(pending)
				pending = pending[:0]
				return err
			},
		},
	}
	l, err := eventstream.ListenUnix(path, 0o600)
	if err != nil {
		fail(err)
	}
	if err := r.Accept(ctx, l); ctx.Err() == nil {
		fail(err)
	}
}

// fail ends a child.
func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// readJournal returns all whole entries.
func readJournal(t *testing.T, path string) []entry {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	all := make([]entry, st.Size()/entrySize)
	if err := binary.Read(f, binary.LittleEndian, all); err != nil {
		t.Fatal(err)
	}
	return all
}
