package metrics

import "testing"

func TestUnused(t *testing.T) {
	for _, c := range []struct {
		packets Packets
		skipped uint64
		want    string
	}{
		{Packets{}, 0, ""},
		{Packets{Received: 10, NotIP: 5}, 0, ""},
		{Packets{Received: 10, NotIP: 6}, 0, "4 of 10 packets could be used: 6 hold no IP"},
		{
			Packets{Received: 10, NotIP: 1, Refused: 7, RefusedAs: map[string]uint64{"b": 3, "a": 4, "c": 0}}, 90,
			"2 of 100 packets could be used: 1 hold no IP, 90 have a link type that is not read, 4 are refused (a), 3 are refused (b)",
		},
	} {
		if got := c.packets.Unused(c.skipped); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
