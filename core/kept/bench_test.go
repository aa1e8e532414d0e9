package kept

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/session"
)

// ids are those of a run with the same names.
type ids struct{}

func (ids) Zone(id uint16) (uint16, bool) { return id, true }
func (ids) Policy(id uint32) uint32       { return id }
func (ids) Interface(id uint32) uint32    { return id }
func (ids) Application(id uint16) uint16  { return id }

// cpu returns the time that the process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRestart writes, and reads, what a full table of the default size keeps, and a full ring.
func BenchmarkRestart(b *testing.B) {
	const n = 1 << 18
	dir := openDir(b, b.TempDir())
	c := some(b)
	c.Table = session.New(session.Config{Max: n + n/8, Seed: 1, Timeouts: session.DefaultTimeouts()})
	for i := range n {
		h := packet.Headers{IPLen: 100, HasL4: true}
		h.Family, h.Proto, h.SrcPort, h.Src[0], h.Src[1] = packet.IPv4, packet.ProtoUDP, uint16(i), byte(i>>16), byte(i>>24)
		var k session.Key
		c.Table.SetKey(&k, &h.Tuple, 1)
		if c.Table.Create(&k, &h, 1, &session.Params{ID: uint64(i) + 1}, new(session.Replaced)) != session.Created {
			b.Fatal("the table is full")
		}
	}
	run := func(name string, f func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			used := cpu(b)
			for range b.N {
				f(b)
			}
			b.ReportMetric(float64((cpu(b)-used).Microseconds())/1e3/float64(b.N), "cpu-ms/op")
		})
	}
	run("write", func(b *testing.B) {
		if _, err := c.Write(dir); err != nil {
			b.Fatal(err)
		}
	})
	to := session.New(session.Config{Max: n + n/8, Seed: 1, Timeouts: session.DefaultTimeouts()})
	run("read", func(b *testing.B) {
		b.StopTimer()
		to = session.New(session.Config{Max: n + n/8, Seed: 1, Timeouts: session.DefaultTimeouts()})
		b.StartTimer()
		s, why, err := Read(dir, boot, time.Now())
		if s == nil || err != nil {
			b.Fatal(why, err)
		}
		defer s.Close()
		for sessions, err := range s.Sessions() {
			if err == nil {
				_, err = to.TakeOver(sessions, &session.Takeover{IDs: ids{}, Now: 1}, nil)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		if _, err := replay.Restore(replay.Limits{Slots: 2048, Telemetry: 1024, PerKind: 1024}, &s.Sinks[0].Position, s.Held[0]); err != nil {
			b.Fatal(err)
		}
	})
	if to.Stats().Active != n {
		b.Errorf("%d sessions were read, want %d", to.Stats().Active, n)
	}
}
