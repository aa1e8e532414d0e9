package spool

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// tmpfs mounts a file system of its own, with that many bytes.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NODEV|unix.MS_NOSUID, "mode=0700,size="+size)
	if errors.Is(err, unix.EPERM) && os.Getenv("PIPELINED_REQUIRE_XDP") != "1" { // the run is meant to be root's
		t.Skip("mounting wants root")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// plant is a spool on a real file system, with a ring in front of it and its writer running.
type plant struct {
	t    *testing.T
	ring *replay.Ring
	s    *Spool
	put  int
	made []event.Record
	end  func() // stops in order
}

func newPlant(t *testing.T, dir string, o Options, evict bool, epoch uint64) *plant {
	t.Helper()
	o.Path, o.Interval = dir, MinInterval
	ring, err := replay.New(replay.Limits{Slots: 8192, Telemetry: 4096, PerKind: 2048})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Config{Options: o, Evict: evict, Window: 8192, Now: time.Now, segment: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	p := &plant{t: t, ring: ring, s: s, made: sinktest.Records(7, 2000)}
	s.Begin(ring, epoch, namesOf(epoch))
	var writing sync.WaitGroup
	writing.Go(func() { s.Run(context.Background()) })
	p.end = sync.OnceFunc(func() {
		ring.Drain()
		writing.Wait()
		balanced(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// fill puts a record into the ring, and reports whether there was room.
func (p *plant) fill() bool {
	rec := recordOf(p.made, event.Seq(p.put+1))
	class := replay.ClassOf(rec.Kind())
	if p.ring.Acquire(class, 1) == 0 {
		return false
	}
	p.ring.Put(p.ring.Claim(1), class, &rec)
	p.ring.Wake()
	p.put++
	return true
}

// until fills the ring until a condition holds. Where there is no room, or the ring has taken n records, it waits for it.
func (p *plant) until(n int, what string, cond func(State) bool) State {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		for range 500 {
			if p.put >= n || !p.fill() {
				time.Sleep(time.Millisecond)
				break
			}
		}
		st := p.s.State()
		if cond(st) {
			return st
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("not within 20 s: %s; %+v", what, st)
		}
	}
}

// deliver takes all that there is, and fails unless it is what was put in from a number on.
func (p *plant) deliver(from event.Seq) {
	p.t.Helper()
	next := from
	for deadline := time.Now().Add(20 * time.Second); int(next) <= p.put; {
		records := p.s.Next(1024)
		for i := range records {
			if records[i] != recordOf(p.made, next) {
				p.t.Fatalf("record %d comes where %d should", records[i].Seq(), next)
			}
			next++
		}
		if len(records) > 0 {
			if err := p.s.Ack(next - 1); err != nil {
				p.t.Fatal(err)
			}
			continue
		}
		if time.Sleep(time.Millisecond); time.Now().After(deadline) {
			p.t.Fatalf("record %d of %d does not come within 20 s: %+v", next, p.put, p.s.State())
		}
	}
}

const plenty = 1 << 30

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestDiskFull fills a real file system before the spool has reached its size: the records wait in the ring, and when the sink has taken
// some, the spool goes on by itself. Nothing is lost, and nothing comes twice.
func TestDiskFull(t *testing.T) {
	for _, mode := range []Sync{SyncNone, SyncInterval, SyncBatch} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			dir := tmpfs(t, "2m")
			p := newPlant(t, dir, Options{Size: 64 << 20, Sync: mode}, false, 7)
			p.until(20000, "most of it is used", func(st State) bool { return st.Spooled.Total() == 20000 })
			ballast, err := os.Create(filepath.Join(dir, "ballast"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(ballast, zeros{}); !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			st := p.until(plenty, "the disk is full", func(st State) bool { return st.Errors > 0 && !p.fill() })
			if st.Bytes > 2<<20 || !strings.Contains(st.LastError, "no space left") || st.Held.Total() < 20000 {
				t.Errorf("of a full disk: %+v", st)
			}
			p.deliver(1)
			if err := ballast.Close(); err != nil {
				t.Error(err)
			}
			p.until(p.put+5000, "it goes on", func(State) bool { return p.ring.State().Held == 0 })
			p.end()
		})
	}
}

// TestMinFree checks that a spool leaves others the room that it is told to, and gives up the oldest where it evicts.
func TestMinFree(t *testing.T) {
	for _, evict := range []bool{false, true} {
		dir := tmpfs(t, "4m")
		p := newPlant(t, dir, Options{Size: 64 << 20, MinFree: 2 << 20, Sync: SyncInterval}, evict, 7)
		free := func() uint64 {
			var fs unix.Statfs_t
			if err := unix.Statfs(dir, &fs); err != nil {
				t.Fatal(err)
			}
			return fs.Bavail * uint64(fs.Bsize)
		}
		p.until(40000, "min_free is reached", func(st State) bool {
			return (st.Full != "" || st.Evicted.Total() > 0) && (p.put >= 40000 || !p.fill())
		})
		if n := free(); n < 2<<20-64<<10 { // blocks of files are not full
			t.Errorf("evict=%v: %d bytes are free", evict, n)
		}
		if evict {
			if st := p.until(40000, "all is taken", func(st State) bool { return st.Spooled.Total() == 40000 }); st.Full != "" {
				t.Errorf("it does not evict: %+v", st)
			}
		} else {
			p.deliver(1)
		}
		p.end()
	}
}

// TestReadOnly starts a spool on a file system that is mounted read-only: what it holds is delivered, what comes waits in the ring, and
// when the file system can be written to again it goes on by itself.
func TestReadOnly(t *testing.T) {
	dir := tmpfs(t, "16m")
	p := newPlant(t, dir, Options{Size: 64 << 20}, false, 7)
	p.until(5000, "all is spooled", func(st State) bool { return st.Spooled.Total() == 5000 })
	p.end()
	mount := func(flags uintptr) {
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	mount(unix.MS_RDONLY)
	next := newPlant(t, dir, Options{Size: 64 << 20}, false, 8)
	next.until(10, "it fails", func(st State) bool { return st.Errors > 0 && next.put == 10 })
	p.s = next.s
	p.deliver(1)
	mount(0)
	next.until(10, "it goes on", func(st State) bool { return st.Spooled.Total() == 10 })
	next.s.Rewind()
	next.deliver(1)
	next.end()
}

// TestRemovedFiles removes the files of a spool, and then its directory, while it writes. What comes after that is not written to files
// that nobody finds any more: it is in others, for this run and the next one, and what was in the removed ones is announced.
func TestRemovedFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	p := newPlant(t, dir, Options{Size: 64 << 20}, false, 7)
	spooled := func(n int) {
		p.until(n, "all is spooled", func(st State) bool { return st.Spooled.Total() == uint64(n) })
	}
	spooled(2000)
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) < 2 {
		t.Fatalf("%v: %v", names, err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	p.s.lookForFiles()
	spooled(3000)
	p.s.tidy(false)
	if list, err := List(dir); err != nil || len(list) != 1 || list[0].Records.Total() != 1000 || p.s.State().Errors != 1 {
		t.Errorf("%+v: %v, %+v", list, err, p.s.State())
	}
	if _, err := os.Stat(filepath.Join(dir, positionFile)); err != nil {
		t.Error(err)
	}

	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	p.s.lookForFiles()
	spooled(3500)
	p.end()
	next := newPlant(t, dir, Options{Size: 64 << 20}, false, 8)
	var lost event.LossCounts
	seq := event.Seq(3001)
	for int(seq) <= p.put {
		records := next.s.Next(1024)
		if len(records) == 0 {
			t.Fatalf("record %d does not come: %+v", seq, next.s.State())
		}
		for i := range records {
			if r := &records[i]; r.Seq() <= 3000 {
				lost = r.LossCounts()
			} else if *r != recordOf(p.made, seq) {
				t.Fatalf("record %d comes where %d should", r.Seq(), seq)
			} else {
				seq++
			}
		}
		if err := next.s.Ack(records[len(records)-1].Seq()); err != nil {
			t.Fatal(err)
		}
	}
	var want event.LossCounts
	for seq := event.Seq(1); seq <= 3000; seq++ {
		if r := recordOf(p.made, seq); r.Kind() != event.Loss {
			want[r.Kind()]++
		}
	}
	if lost != want {
		t.Errorf("%v are announced as lost, want %v", lost, want)
	}
	next.end()
}
