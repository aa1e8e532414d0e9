package format

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func checkTime(t *testing.T, ns int64) {
	t.Helper()
	want := time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000Z")
	if got := string(appendTime(nil, ns)); got != want {
		t.Errorf("appendTime(%d) = %s, want %s", ns, got, want)
	}
	want = time.Unix(0, ns).UTC().Format(time.Stamp)
	stamp := [stampSize]byte([]byte(stampLayout))
	if putStamp(&stamp, ns); string(stamp[:]) != want {
		t.Errorf("putStamp(%d) = %s, want %s", ns, stamp, want)
	}
}

func TestTimeEveryDay(t *testing.T) {
	const day = 24 * int64(time.Hour)
	for d := int64(math.MinInt64) / day; d <= math.MaxInt64/day; d++ {
		checkTime(t, d*day)
	}
}

func TestTimeEdges(t *testing.T) {
	for _, ns := range []int64{
		1, -1, 999_999, 1_000_000, math.MaxInt64, math.MinInt64,
		time.Date(2000, 2, 29, 23, 59, 59, 999_999_999, time.UTC).UnixNano(),
		time.Date(1900, 2, 28, 12, 0, 0, 0, time.UTC).UnixNano(),
	} {
		checkTime(t, ns)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		checkTime(t, int64(r.Uint64()))
	}
}
