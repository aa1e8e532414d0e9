package nats

import (
	"math"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rtflow/pipelined/sdk/event"
)

// TestIDs: the same records of a host always have the same id, and no two hosts, epochs or sinks share one.
func TestIDs(t *testing.T) {
	seen := make(map[string]string)
	for _, c := range []struct {
		host, sink string
		epoch      uint64
		want       string
	}{
		{"fw1", "b", 1, "fw1/1/b/7-9/3"},
		{"fw1", "b", 2, "fw1/2/b/7-9/3"},
		{"fw1.example.net", "b", 1, "fw1.example.net/1/b/7-9/3"},
		{"fw1", "c", 1, "fw1/1/c/7-9/3"},
		{"fw1/1", "b", 1, "fw1%2F1/1/b/7-9/3"},
		{"fw1%2F1", "b", 1, "fw1%252F1/1/b/7-9/3"},
		{"fw 1\r\n", "b", 1, "fw%201%0D%0A/1/b/7-9/3"},
		{"", "b", 1, "unknown/1/b/7-9/3"},
	} {
		for range 2 {
			from := newOrigin(c.host, c.sink, c.epoch)
			m := newMessage()
			m.seqs = []event.Seq{7, 8, 9}
			m.identify(&from, true)
			if got := m.msg.Header.Get(jetstream.MsgIDHeader); got != c.want {
				t.Errorf("host %q: id %q, want %q", c.host, got, c.want)
			}
		}
		if other, ok := seen[c.want]; ok {
			t.Errorf("hosts %q and %q share %s", c.host, other, c.want)
		}
		seen[c.want] = c.host
	}
}

// TestHeaderRoom: the headers of the longest names and numbers take no more than is kept for them.
func TestHeaderRoom(t *testing.T) {
	for _, host := range []string{"", "fw1", strings.Repeat("/", 255)} {
		from := newOrigin(host, strings.Repeat("s", 100), math.MaxUint64)
		m := newMessage()
		m.seqs = make([]event.Seq, maxBatch)
		m.seqs[0], m.seqs[maxBatch-1] = math.MaxUint64-1, math.MaxUint64
		m.identify(&from, true)
		if got, room := m.size(), headerRoom+from.size(); got > room {
			t.Errorf("headers of %d bytes, and %d are kept for them", got, room)
		}
	}
}
