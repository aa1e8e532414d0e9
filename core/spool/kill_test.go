package spool

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/internal/values"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// victimDir tells a process of this test that it is one to be killed, and where its spool is; victimSync how it syncs.
const (
	victimDir  = "PIPELINED_SPOOL_VICTIM"
	victimSync = "PIPELINED_SPOOL_VICTIM_SYNC"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		if err := victim(dir, os.Getenv(victimSync)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// victimRecord is the record with a number of an epoch, as a victim makes it.
func victimRecord(epoch uint64, seq event.Seq) event.Record {
	rec := sinktest.Record(event.PolicyDeny, uint64(seq)%1000)
	rec.SetDeny(uint32(epoch%1000), uint64(seq), 0)
	rec.Generation = 1
	rec.SetSeq(seq)
	return rec
}

// victim puts records into a ring as fast as it can, behind which is a spool, and takes some of them out. It writes the epoch, and then
// again and again how many the ring has been told to be safe.
func victim(dir, mode string) error {
	o := DefaultOptions()
	if err := o.Sync.UnmarshalText([]byte(mode)); err != nil {
		return err
	}
	o.Size, o.Path, o.Interval = values.Size(1<<30), dir, MinInterval
	s, err := Open(Config{Options: o, Window: 4096, Now: time.Now, segment: 1 << 20})
	if err != nil {
		return err
	}
	ring, err := replay.New(replay.Limits{Slots: 8192, Telemetry: 4096, PerKind: 4096})
	if err != nil {
		return err
	}
	epoch := s.HighestEpoch() + 1
	s.Begin(ring, epoch, namesOf(epoch))
	go s.Run(context.Background())
	go func() { // a sink that takes a few of them
		for range 20 {
			for b := s.Next(64); len(b) > 0; b = nil {
				_ = s.Ack(b[len(b)-1].Seq())
			}
			s.Rewind()
			time.Sleep(time.Millisecond)
		}
	}()
	var out [8]byte
	say := func(n uint64) error {
		binary.LittleEndian.PutUint64(out[:], n)
		_, err := os.Stdout.Write(out[:])
		return err
	}
	if err := say(epoch); err != nil {
		return err
	}
	for seq := event.Seq(1); ; {
		room := ring.Room()
		n := ring.Acquire(replay.PolicyDeny, 64)
		if n == 0 {
			<-room
			continue
		}
		for range n {
			rec := victimRecord(epoch, seq)
			ring.Put(ring.Claim(1), replay.PolicyDeny, &rec)
			seq++
		}
		ring.Wake()
		if err := say(uint64(ring.Floor() - 1)); err != nil {
			return err
		}
	}
}

// TestP6Kill kills a process that spools under load, again and again on one directory, and checks that all that was acknowledged to its
// ring is there, in order: the kernel has it whatever sync says. PIPELINED_SPOOL_KILLS says how often for each.
func TestP6Kill(t *testing.T) {
	kills := number("PIPELINED_SPOOL_KILLS", 2)
	for _, mode := range syncNames {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			safe := make(map[uint64]event.Seq)
			for i := range kills {
				epoch, n := killOne(t, dir, mode, time.Duration(50+rand.IntN(150))*time.Millisecond)
				safe[epoch] = n
				if i == kills-1 || i%10 == 9 {
					survived(t, dir, safe)
				}
			}
		})
	}
}

// killOne runs a victim for some time after it has begun, and returns its epoch and how many records it has said to be safe.
func killOne(t *testing.T, dir, mode string, after time.Duration) (epoch uint64, safe event.Seq) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimDir+"="+dir, victimSync+"="+mode)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReaderSize(pipe, 1<<16)
	read := func() (n uint64, err error) {
		var b [8]byte
		_, err = io.ReadFull(in, b[:])
		return binary.LittleEndian.Uint64(b[:]), err
	}
	if epoch, err = read(); err != nil {
		t.Fatalf("the victim has not begun: %v", err)
	}
	var once sync.Once
	kill := func() { once.Do(func() { _ = cmd.Process.Kill() }) }
	for timer := time.AfterFunc(after, kill); ; {
		n, err := read()
		if err != nil {
			timer.Stop()
			break
		}
		safe = event.Seq(n)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the victim has ended by itself")
	}
	return epoch, safe
}

// survived fails unless a spool has all records that are safe. The sinks of the victims have acknowledged only what stands first.
func survived(t *testing.T, dir string, safe map[uint64]event.Seq) {
	t.Helper()
	last := make(map[uint64]event.Seq)
	before := uint64(0)
	err := Cat(dir, false, func(e Entry) error {
		epoch, seq := e.From.Epoch, e.Seq()
		switch {
		case epoch < before:
			return fmt.Errorf("epoch %d comes behind %d", epoch, before)
		case last[epoch] != 0 && seq != last[epoch]+1:
			return fmt.Errorf("record %d of epoch %d comes behind %d", seq, epoch, last[epoch])
		case *e.Record != victimRecord(epoch, seq):
			return errors.New("a record is another")
		case e.Names.Policy(1) != policyOf(epoch, 1):
			return errors.New("a record has other names")
		}
		before, last[epoch] = epoch, seq
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, problems, err := Verify(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range problems {
		if !problems[i].tail {
			t.Errorf("%v", &problems[i])
		}
	}
	for epoch, n := range safe {
		if epoch >= before && last[epoch] < n {
			t.Errorf("%d records of epoch %d were safe, and the last that is there is %d", n, epoch, last[epoch])
		}
	}
	t.Logf("%v safe, %v there", safe, last)
}
