package heavy

import (
	"math/rand/v2"
	"testing"
)

// TestBounds counts streams of all kinds, turns the window at times, and compares with exact counts of the same window.
func TestBounds(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		places, parts := 1+rng.IntN(40), 1+rng.IntN(4)
		w := NewWindow[int, int](parts, places)
		exact := []map[int]uint64{{}}
		zipf := rand.NewZipf(rng, 1.1+rng.Float64(), 1, uint64(1+rng.IntN(1000)))
		for i := range 5000 {
			key := int(zipf.Uint64())
			if rng.IntN(3) == 0 {
				key = -i // never again
			}
			w.Add(key, &i)
			exact[0][key]++
			if rng.IntN(700) == 0 {
				w.Turn()
				exact = append([]map[int]uint64{{}}, exact[:min(len(exact), parts-1)]...)
			}
		}
		true_, total := make(map[int]uint64), uint64(0)
		for _, part := range exact {
			for key, n := range part {
				true_[key] += n
				total += n
			}
		}
		if w.Total() != total {
			t.Fatalf("seed %d: %d in the window, want %d", seed, w.Total(), total)
		}
		found := make(map[int]bool)
		last := ^uint64(0)
		for _, e := range w.Top(1 << 20) {
			found[e.Key] = true
			if n := true_[e.Key]; n > e.Count || n < e.Count-e.Error {
				t.Errorf("seed %d: key %d came %d times; told is %d, at most %d too many", seed, e.Key, n, e.Count, e.Error)
			}
			if e.Count > last {
				t.Errorf("seed %d: not sorted", seed)
			}
			last = e.Count
		}
		for key, n := range true_ {
			if n > total/uint64(places) && !found[key] {
				t.Errorf("seed %d: key %d came %d times of %d, and is not found with %d places", seed, key, n, total, places)
			}
		}
	}
}

func TestExact(t *testing.T) {
	w := NewWindow[string, int](2, 10)
	for i, key := range []string{"a", "b", "a", "c", "a", "b"} {
		w.Add(key, &i)
	}
	top := w.Top(2)
	if len(top) != 2 || top[0] != (Entry[string, int]{"a", 4, 3, 0}) || top[1] != (Entry[string, int]{"b", 5, 2, 0}) {
		t.Errorf("%+v", top)
	}
	w.Turn()
	w.Add("b", nil)
	if top := w.Top(1); top[0] != (Entry[string, int]{"b", 5, 3, 0}) && top[0] != (Entry[string, int]{"a", 4, 3, 0}) {
		t.Errorf("after a turn: %+v", top)
	}
	w.Turn()
	w.Turn()
	if top := w.Top(1); len(top) != 0 || w.Total() != 0 {
		t.Errorf("after all turns: %+v", top)
	}
}

func BenchmarkAdd(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	keys := make([]uint32, 1<<16)
	for i := range keys {
		keys[i] = rng.Uint32() >> (rng.IntN(32))
	}
	w := NewWindow[uint32, int](6, 256)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		w.Add(keys[i&(1<<16-1)], &i)
		i++
	}
}
