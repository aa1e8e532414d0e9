package capture

import (
	"encoding/binary"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestClock reads captures with broken time stamps, given in seconds; the times are what a worker sees.
func TestClock(t *testing.T) {
	const (
		year  = 365 * 86400
		night = 9 * 3600
		zero  = -1700000000 // 1970
	)
	back := []int64{1000, 1001}
	backTimes := []int64{1000, 1001}
	for i := range int64(20) { // the clock is set back by 950 s
		back = append(back, 50+i)
		backTimes = append(backTimes, max(1001, 1001+i-15))
	}
	for _, c := range []struct {
		name          string
		stamps, times []int64
		order, set    uint64
		pipe          []int64 // times from a pipe, if they are others
	}{
		{"in order", []int64{1, 2, 3, 4}, []int64{1, 2, 3, 4}, 0, 0, nil},
		{"one", []int64{5}, []int64{5}, 0, 0, nil},
		{"outlier ahead", []int64{1, 2, 2 + 10*year, 3, 4}, []int64{1, 2, 2, 3, 4}, 1, 0, nil},
		{"two outliers ahead", []int64{1, 2, 2 + 10*year, 2 + 11*year, 3, 4}, []int64{1, 2, 2, 2, 3, 4}, 2, 0, nil},
		{"outliers with good ones between", []int64{1, 2, year, 3, year, 4, year, 5, 6}, []int64{1, 2, 2, 3, 3, 4, 4, 5, 6}, 3, 0, nil},
		{"outlier behind", []int64{year, year + 1, 0, year + 2}, []int64{year, year + 1, year + 1, year + 2}, 1, 0, nil},
		{"a quiet night", []int64{1, 2, night, night + 1, night + 2}, []int64{1, 2, night, night + 1, night + 2}, 0, 0, nil},
		{"sparse", []int64{0, night, 2 * night, 3 * night, 4 * night}, []int64{0, night, 2 * night, 3 * night, 4 * night}, 0, 0, nil},
		{"a late last packet", []int64{1, 2, night}, []int64{1, 2, night}, 0, 0, nil},
		{"first ahead", []int64{10 * year, 1, 2, 3}, []int64{1, 1, 2, 3}, 1, 0,
			[]int64{10 * year, 10 * year, 10 * year, 10 * year}},
		{"first without a time", []int64{zero, 1, 2, 3}, []int64{1, 1, 2, 3}, 1, 0, nil},
		{"first two without a time", []int64{zero + 1, zero, 5, 6}, []int64{5, 5, 5, 6}, 2, 0, nil},
		{"all without a time", []int64{zero, zero + 2, zero + 4}, []int64{zero, zero + 2, zero + 4}, 0, 0, nil},
		{"nothing but the first, without a time", []int64{zero}, []int64{zero}, 0, 0, nil},
		{"first behind", []int64{0, 10 * year, 10*year + 1, 10*year + 2}, []int64{0, 10 * year, 10*year + 1, 10*year + 2}, 0, 0, nil},
		{"second behind", []int64{year, 0, year + 1, year + 2}, []int64{year, year, year + 1, year + 2}, 1, 0, nil},
		{"set back", back, backTimes, 15, 1, nil},
		{"set back too little", []int64{100, 50, 51, 101}, []int64{100, 100, 100, 101}, 2, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var pkts []pkt
			for i, s := range c.stamps {
				pkts = append(pkts, pkt{ns: s * int64(time.Second), data: string(rune('a' + i))})
			}
			b := ngOf(binary.LittleEndian, "", pkts...)
			check := func(got []frame, stats Stats, err error, want []int64, counted bool) {
				t.Helper()
				if err != io.EOF || len(got) != len(pkts) {
					t.Fatalf("%d packets of %d, %v", len(got), len(pkts), err)
				}
				var times []int64
				for i, f := range got {
					if f.Data != pkts[i].data {
						t.Errorf("packet %d is %q, want %q", i, f.Data, pkts[i].data)
					}
					times = append(times, f.Time/int64(time.Second))
				}
				if diff := cmp.Diff(want, times); diff != "" {
					t.Error(diff)
				}
				if counted && (stats.OutOfOrder != c.order || stats.ClockSetBack != c.set) {
					t.Errorf("out of order %d, set back %d; want %d, %d", stats.OutOfOrder, stats.ClockSetBack, c.order, c.set)
				}
			}
			got, stats, err := readFile(t, b, Config{})
			check(got, stats, err, c.times, true)
			got, stats, err = readPipe(t, b, Config{})
			if c.pipe == nil {
				check(got, stats, err, c.times, true)
			} else {
				check(got, stats, err, c.pipe, false)
			}
		})
	}
}

// TestClockGoesOn breaks one stamp of many, each in turn: after it the clock runs on.
func TestClockGoesOn(t *testing.T) {
	for broken := range 40 {
		for _, by := range []int64{-86400, 86400, 20 * 365 * 86400} {
			var pkts []pkt
			for i := range int64(40) {
				pkts = append(pkts, pkt{ns: i * int64(time.Second), data: "x"})
			}
			pkts[broken].ns += by * int64(time.Second)
			got, _, err := readFile(t, ngOf(binary.LittleEndian, "", pkts...), Config{})
			if err != io.EOF || len(got) != 40 {
				t.Fatal(len(got), err)
			}
			// The last stamp has nothing behind it that could contradict it, nor has the last but one anything but that one.
			for i, f := range got[:39] {
				if want := int64(i) * int64(time.Second); i != broken && f.Time != want && !(broken == 39 && i == 39) {
					t.Fatalf("stamp %d off by %d s: packet %d has time %v", broken, by, i, time.Duration(f.Time))
				}
			}
			if !slices.IsSortedFunc(got, func(a, b frame) int { return int(min(max(a.Time-b.Time, -1), 1)) }) {
				t.Fatalf("stamp %d off by %d s: time goes back", broken, by)
			}
		}
	}
}
