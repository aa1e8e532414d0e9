package kept

import (
	"bytes"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/statedir"
	"github.com/rtflow/pipelined/sdk/event"
)

const boot = "this boot"

// keeper is a source that keeps two pieces.
type keeper struct{ source.Source }

func (keeper) Keep(yield func([]byte) bool) uint64 {
	if yield([]byte("one")) {
		yield([]byte("two"))
	}
	return 2
}

func (keeper) TakeOver(iter.Seq2[[]byte, error], source.IDs) error { return nil }

// some returns something to keep: 1,500 records of two generations, 20 sessions, a source.
func some(t testing.TB) *Content {
	t.Helper()
	limits := replay.Limits{Slots: 2048, Telemetry: 1024, PerKind: 1024}
	ring, err := replay.New(limits)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := replay.New(limits)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1500 {
		var rec event.Record
		rec.Reset(event.SessionOpen)
		rec.SetFlow(event.FamilyIPv4, 6, &[16]byte{1}, &[16]byte{2}, 3, 4)
		rec.Generation = uint32(3 + i/1000)
		ring.Acquire(replay.Priority, 1)
		ring.Put(ring.Claim(1), replay.Priority, &rec)
	}
	table := session.New(session.Config{Max: 1 << 10, Timeouts: session.DefaultTimeouts()})
	for i := range 20 {
		h := packet.Headers{IPLen: 100, HasL4: true}
		h.Family, h.Proto, h.SrcPort = packet.IPv4, packet.ProtoUDP, uint16(i)
		var k session.Key
		table.SetKey(&k, &h.Tuple, 1)
		table.Create(&k, &h, 1, &session.Params{ID: uint64(i) + 1}, new(session.Replaced))
	}
	names := Names{
		First: 3, Generations: []Known{{1, 1}, {2, 1}}, Zones: map[uint16]string{1: "a"}, Policies: []string{"", "p"},
		Filters: []event.Filter{{}, {Name: "f", Terms: []string{"t"}}}, Interfaces: map[uint32]string{7: "eth0"}, Apps: []string{"", "http"},
	}
	return &Content{
		Head: Head{
			Boot: boot, Stopped: time.Now().UnixNano(), Clock: 5, Seed: 1 << 63, Epoch: 9, NextID: 21, Separate: "vlan",
			Sinks: []Sink{
				{Name: "full", Plugin: "file", Epoch: 9, Position: ring.Freeze(), State: []byte("x")},
				{Name: "empty", Plugin: "file", Epoch: 10, Position: empty.Freeze(), Owed: []admission.Owed{
					{Reason: event.LossOverBudget, Counts: event.LossCounts{event.PolicyDeny: 3}, Since: 1, Until: 2},
				}},
			},
			Sources:  []Source{{"sessions", "conntrack"}},
			Hooks:    []Hook{{"policies", "policydeny", []hook.Counter{{Name: "p", Packets: 1, Bytes: 2}}}},
			Received: map[string]uint64{"eth0": 11},
		},
		Names: []Names{{First: 1, Generations: []Known{{1, 1}}, Policies: []string{""}, Filters: []event.Filter{{}}}, names},
		Rings: []*replay.Ring{ring, empty}, Table: table, Sources: []source.Keeper{keeper{}},
	}
}

func openDir(t testing.TB, path string) *statedir.Dir {
	t.Helper()
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := statedir.Open(path, slog.New(slog.DiscardHandler).Warn) //nolint:sloglint // nobody reads it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// TestWriteRead reads what was written: the same.
func TestWriteRead(t *testing.T) {
	dir := openDir(t, t.TempDir())
	c := some(t)
	tail, err := c.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, why, err := Read(dir, boot, time.Now())
	if s == nil || why != nil || err != nil {
		t.Fatalf("%v, %v, %v", s, why, err)
	}
	defer s.Close()
	if diff := cmp.Diff(c.Head, s.Head); diff != "" {
		t.Errorf("head (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(c.Names, s.Names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(tail, s.Tail); diff != "" || tail.Records != 1500 || tail.Sessions != 20 {
		t.Errorf("tail (-want +got):\n%s", diff)
	}
	if len(s.Held[0]) != 1500 || len(s.Held[1]) != 0 {
		t.Errorf("%d and %d records", len(s.Held[0]), len(s.Held[1]))
	}
	for range 2 { // as often as one likes
		sessions, pieces := 0, ""
		for b, err := range s.Sessions() {
			n, checkErr := session.CheckKept(b)
			if sessions += n; err != nil || checkErr != nil {
				t.Fatal(err, checkErr)
			}
		}
		for b, err := range s.Pieces(0) {
			if pieces += string(b) + " "; err != nil {
				t.Fatal(err)
			}
		}
		if sessions != 20 || pieces != "one two " {
			t.Errorf("%d sessions, pieces %q", sessions, pieces)
		}
	}
	if n := s.Names[1].Of(3); len(n.Policies) != 1 || n.Generation != 3 || n.Interface(7) != "eth0" {
		t.Errorf("names of generation 3: %+v", n)
	}
}

// TestRefused changes what was written in ways that its checksums do not show: nothing of it is used.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name, why string
		change    func(c *Content)
		boot      string
		now       time.Duration
	}{
		{name: "another boot", boot: "another", why: "started since"},
		{name: "a day and a bit", now: MaxAge + time.Minute, why: "are allowed"},
		{name: "a position behind the next", change: func(c *Content) { c.Sinks[0].Position.Handed = 1501 }, why: "sink full"},
		{name: "no names", change: func(c *Content) { c.Names = nil }, why: "has no names"},
		{name: "names of others", change: func(c *Content) { c.Names = c.Names[:1] }, why: "has no names"},
		{name: "names twice", change: func(c *Content) { c.Names[0] = c.Names[1] }, why: "names of 2 generations"},
		{name: "too many names known", change: func(c *Content) { c.Names[1].Generations[0].Policies = 3 }, why: "names of 2 generations"},
		{name: "generations without end", change: func(c *Content) { c.Names[1].First = 1 << 31 }, why: "names of 2 generations"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := t.TempDir()
			dir := openDir(t, path)
			content := some(t)
			if c.change != nil {
				c.change(content)
			}
			if _, err := content.Write(dir); err != nil {
				t.Fatal(err)
			}
			if c.boot == "" {
				c.boot = boot
			}
			s, why, err := Read(dir, c.boot, time.Now().Add(c.now))
			if s != nil || err != nil || why == nil || !strings.Contains(why.Error(), c.why) {
				t.Errorf("%v, %v, %v; want: %s", s, why, err, c.why)
			}
			if again, why, err := Read(dir, boot, time.Now()); again != nil || why != nil || err != nil {
				t.Errorf("the second time: %v, %v, %v", again, why, err)
			}
			if _, err := os.Stat(filepath.Join(path, "kept.unused")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestClockSetBack has been written in the future by the wall clock: it is used.
func TestClockSetBack(t *testing.T) {
	dir := openDir(t, t.TempDir())
	if _, err := some(t).Write(dir); err != nil {
		t.Fatal(err)
	}
	s, why, err := Read(dir, boot, time.Now().Add(-48*time.Hour))
	if s == nil || why != nil || err != nil {
		t.Fatal(s, why, err)
	}
	_ = s.Close()
}

// FuzzRead reads frames of any content: it never panics, and what it accepts can be restored.
func FuzzRead(f *testing.F) {
	path := f.TempDir()
	dir := openDir(f, path)
	if _, err := some(f).Write(dir); err != nil {
		f.Fatal(err)
	}
	s, _, err := Read(dir, boot, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	var b []byte
	if err := s.Frames(func(kind uint8, payload []byte) error {
		if kind == recordsFrame {
			payload = payload[:2]
		}
		b = append(b, kind, byte(len(payload)), byte(len(payload)>>8))
		b = append(b, payload[:min(len(payload), 1<<16-1)]...)
		return nil
	}); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{headFrame, 2, 0, '{', '}', tailFrame, 2, 0, '{', '}'})
	now := time.Now()
	f.Fuzz(func(t *testing.T, b []byte) {
		var file bytes.Buffer
		err := statedir.WriteFrames(&file, func(w *statedir.FrameWriter) error {
			for len(b) > 3 && b[0] != 0xff {
				n := min(int(b[1])|int(b[2])<<8, len(b)-3)
				if err := w.Frame(b[0], b[3:3+n]); err != nil {
					return err
				}
				b = b[3+n:]
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var s State
		r := bytes.NewReader(file.Bytes())
		if err := s.readFrom(func(each func(uint8, []byte) error) error { return statedir.ReadFrames(r, each) }, boot, now); err != nil {
			return
		}
		for i := range s.Sinks {
			if _, err := replay.Restore(replay.Limits{Slots: 64, Telemetry: 32, PerKind: 32}, &s.Sinks[i].Position, s.Held[i]); err != nil {
				t.Errorf("it cannot be restored: %v", err)
			}
		}
		for i := range s.Names {
			for g := s.Names[i].First; g <= s.Names[i].Newest() && g < s.Names[i].First+10; g++ {
				s.Names[i].Of(g)
			}
		}
	})
}
