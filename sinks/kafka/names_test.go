package kafka

import (
	"strconv"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

func TestEscape(t *testing.T) {
	for value, want := range map[string]string{
		"trust": "trust", "dmz.west-1": "dmz.west-1", "dmz_1": "dmz_1", "a b": "a_20b", "a/b": "a_2fb", "é": "_c3_a9",
		"a_2f": "a_5f2f", "a_2": "a_2", "a_2F": "a_2F", "_": "_", "__": "__", "a_/": "a__2f", "{x}": "_7bx_7d",
	} {
		if got := string(escape(nil, value)); got != want {
			t.Errorf("%q is %q, want %q", value, got, want)
		}
	}
}

// unescape gives a value back.
func unescape(t *testing.T, name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '_' && looksEscaped(name[i:]) {
			n, err := strconv.ParseUint(name[i+1:i+3], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			b.WriteByte(byte(n))
			i += 2
			continue
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

// FuzzEscape: a value becomes part of a name that Kafka takes, and the name gives the value back.
func FuzzEscape(f *testing.F) {
	for _, value := range []string{"trust", "dmz.west", "a_2f", "__", "_2", "a b\tc", "\x00\xff", "é", "..", "_5f_5f"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if value == "" || len(value) > 80 {
			return // no zone is called so
		}
		name := string(escape(nil, value))
		if err := checkTopic("x" + name); err != nil {
			t.Errorf("%q is %q: %v", value, name, err)
		}
		if back := unescape(t, name); back != value {
			t.Errorf("%q is %q and back %q", value, name, back)
		}
	})
}

func TestKey(t *testing.T) {
	v4 := func(a, b, c, d byte) *[16]byte { return &[16]byte{a, b, c, d} }
	v6 := func(last byte) *[16]byte { return &[16]byte{0x20, 0x01, 0x0d, 0xb8, 15: last} }
	for _, c := range []struct {
		family, proto uint8
		src, dst      *[16]byte
		sport, dport  uint16
		want          string
	}{
		{event.FamilyIPv4, 6, v4(10, 0, 1, 21), v4(203, 0, 113, 9), 52042, 443, "6 10.0.1.21:52042 203.0.113.9:443"},
		{event.FamilyIPv4, 17, v4(203, 0, 113, 9), v4(10, 0, 1, 21), 53, 999, "17 10.0.1.21:999 203.0.113.9:53"},
		{event.FamilyIPv4, 17, v4(10, 0, 0, 1), v4(10, 0, 0, 1), 9, 8, "17 10.0.0.1:8 10.0.0.1:9"},
		{event.FamilyIPv6, 6, v6(9), v6(1), 1, 2, "6 [2001:db8::1]:2 [2001:db8::9]:1"},
	} {
		for _, kind := range []event.Kind{event.SessionOpen, event.SessionClose, event.PolicyDeny} {
			var there, back event.Record
			there.Reset(kind)
			back.Reset(kind)
			there.SetFlow(c.family, c.proto, c.src, c.dst, c.sport, c.dport)
			back.SetFlow(c.family, c.proto, c.dst, c.src, c.dport, c.sport)
			for _, r := range []*event.Record{&there, &back} {
				if got := string(appendKey(nil, r)); got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
			}
		}
	}
	loss := sinktest.Record(event.Loss, 1)
	if got := string(appendKey(nil, &loss)); got != lossKey {
		t.Errorf("a loss record has the key %q", got)
	}
}

// TestAllocations: a record that is recycled costs nothing.
func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	sink := &Sink{table: defaults()}
	enc := sink.table.Encoder(sinktest.Config(t, ""), sdk.Env{Hostname: "fw1"})
	sink.enc = enc
	r := &run{Sink: sink, names: sinktest.Names()}
	records := sinktest.Records(1, 256)
	if got := testing.AllocsPerRun(100, func() {
		for i := range records {
			records[i].SetSeq(event.Seq(i + 1))
			k := r.make(&records[i], "pipelined")
			if sequence(k) != event.Seq(i+1) {
				t.Fatal("the sequence number is wrong")
			}
			r.free.Put(k)
		}
	}); got > 2 { // the pool is emptied by the garbage collector
		t.Errorf("%v allocations for %d records", got, len(records))
	}
}

func BenchmarkKey(b *testing.B) {
	r := sinktest.Record(event.SessionClose, 1)
	var key []byte
	b.ReportAllocs()
	for b.Loop() {
		key = appendKey(key[:0], &r)
	}
}
