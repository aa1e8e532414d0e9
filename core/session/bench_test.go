package session

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/race"
)

// TestP7NoAllocation checks that a packet allocates nothing: found, missed, created, refused, given up or expired.
func TestP7NoAllocation(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	r := newRig(t, 256)
	var (
		old Replaced
		out [4]Session
		i   int
	)
	now := base
	h := flow(0)
	got := testing.AllocsPerRun(2000, func() {
		i++
		now += []int64{50e6, 1e9}[i/1000%2] // too many for the table, then few
		h.SrcPort = uint16(i)
		if !r.Lookup(h, 1, now, &r.hit) {
			r.Create(h, 1, now, &Params{ID: uint64(i)}, &old)
		}
		r.Lookup(h, 1, now, &r.hit)
		r.Expire(0, now, out[:])
	})
	if got != 0 {
		t.Errorf("%v allocations per packet, want none", got)
	}
	if st := r.Stats(); st.GivenUp == 0 || st.Closed == st.GivenUp {
		t.Errorf("%+v: the test did not both expire and give up", st)
	}
}

// benchTable returns a table with n sessions and the packets that hit them, in random order.
func benchTable(b *testing.B, n int) (*Table, []packet.Headers) {
	b.Helper()
	table := New(Config{Max: max(2*n, 1<<12), Seed: 1, Timeouts: DefaultTimeouts()})
	packets := make([]packet.Headers, n)
	var (
		k   Key
		old Replaced
	)
	for i := range packets {
		packets[i] = *flow(i)
		table.SetKey(&k, &packets[i].Tuple, 1)
		if table.Create(&k, &packets[i], base, &Params{ID: uint64(i) + 1}, &old) != Created {
			b.Fatal("the table is full")
		}
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(n, func(i, j int) { packets[i], packets[j] = packets[j], packets[i] })
	return table, packets
}

func benchLookup(b *testing.B, n int) {
	table, packets := benchTable(b, n)
	var (
		k   Key
		hit Hit
	)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		table.SetKey(&k, &packets[i].Tuple, 1)
		if !table.Lookup(&k, &packets[i], base, &hit) {
			b.Fatal("miss")
		}
		if i++; i == n {
			i = 0
		}
	}
}

func BenchmarkLookupHit(b *testing.B) { benchLookup(b, 64) }

// BenchmarkLookupHitCold looks up random ones of 1<<18 sessions: the table does not fit into any cache.
func BenchmarkLookupHitCold(b *testing.B) { benchLookup(b, 1<<18) }

// BenchmarkLookupBatch looks up random ones of many sessions in batches, with and without Prefetch.
func BenchmarkLookupBatch(b *testing.B) {
	for _, n := range []uint32{1 << 10, 1 << 20} { // powers of two
		table := New(Config{Max: int(2 * n), Seed: 1, Timeouts: DefaultTimeouts()})
		var (
			packets [packet.BatchSize]packet.Headers
			keys    [packet.BatchSize]Key
			old     Replaced
			hit     Hit
		)
		set := func(j int, n uint32) { // the n-th flow
			binary.BigEndian.PutUint32(packets[j].Src[:], 10<<24+n>>4)
			packets[j].SrcPort = uint16(n & 15)
			table.SetKey(&keys[j], &packets[j].Tuple, 1)
		}
		for j := range packets {
			packets[j] = *flow(0)
		}
		for i := range n {
			set(0, i)
			if table.Create(&keys[0], &packets[0], base, &Params{ID: uint64(i) + 1}, &old) != Created {
				b.Fatal("the table is full")
			}
		}
		for _, prefetch := range []bool{false, true} {
			b.Run(fmt.Sprintf("sessions=%d/prefetch=%v", n, prefetch), func(b *testing.B) {
				rng := rand.New(rand.NewPCG(1, 1))
				b.ReportAllocs()
				for i := 0; i < b.N; i += len(keys) {
					for j := range keys {
						set(j, rng.Uint32()&(n-1))
					}
					if prefetch {
						table.Prefetch(keys[:])
					}
					for j := range keys {
						if !table.Lookup(&keys[j], &packets[j], base, &hit) {
							b.Fatal("miss")
						}
					}
				}
			})
		}
	}
}

func BenchmarkLookupMiss(b *testing.B) {
	table, _ := benchTable(b, 1<<18)
	var (
		k   Key
		hit Hit
	)
	h := flow(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		h.SrcPort++
		table.SetKey(&k, &h.Tuple, 1)
		if table.Lookup(&k, h, base, &hit) {
			b.Fatal("hit")
		}
	}
}

// BenchmarkCreateExpire creates a session and ends it: one of each per iteration, in batches.
func BenchmarkCreateExpire(b *testing.B) {
	table := New(Config{Max: 1 << 16, Seed: 1, Timeouts: DefaultTimeouts()})
	var (
		k   Key
		out [128]Session
		old Replaced
	)
	h := flow(0)
	now, i := base, 0
	b.ReportAllocs()
	for b.Loop() {
		h.SrcPort = uint16(i)
		table.SetKey(&k, &h.Tuple, 1)
		table.Create(&k, h, now, &Params{ID: 1}, &old)
		if i++; i%1024 == 0 {
			now += int64(2 * minute)
			for more := true; more; {
				_, more = table.Expire(0, now, out[:])
			}
		}
	}
	if s := table.Stats(); s.Full+s.GivenUp > 0 {
		b.Fatalf("%+v", s)
	}
}
