package nflog

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/nfnetlink"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// stream is datagrams of packets of 16 rules, as the kernel sends them, without a gap.
type stream struct {
	datagrams [][]byte
	numbers   [][]byte // where the number of each packet stands
	next      uint32
}

func newStream() *stream {
	s := new(stream)
	for i := range nfnetlink.Datagrams {
		text := []string{"DROP:fwd-", "ACCEPT:lan-", "filter_FWD_", "[UFW BLOCK] "}[i%4] + string(rune('a'+i%16))
		b := build(nil, unix.AF_INET, 5, header(etherIPv4, 2), number(attrSequence, 0), prefix(text), number(attrIn, 2), number(attrOut, 3), number(2, 1),
			attribute{8, make([]byte, 12)}, stamp(1700000000, 5), attribute{15, make([]byte, 2)}, attribute{16, make([]byte, 14)}, payload(udp()))
		// The sequence number is the second attribute.
		s.datagrams, s.numbers = append(s.datagrams, b), append(s.numbers, b[nfnetlink.HeaderSize+8+4:])
	}
	return s
}

// renew gives the packets the next numbers.
func (s *stream) renew() {
	for _, b := range s.numbers {
		binary.BigEndian.PutUint32(b, s.next)
		s.next++
	}
}

// BenchmarkNFLOGMessages reads packets of a socket that costs nothing.
func BenchmarkNFLOGMessages(b *testing.B) {
	r, s := reads(b, `{"groups": [5]}`)
	stream := newStream()
	var batch source.EventBatch
	full := []received{{datagrams: stream.datagrams}}
	b.ReportAllocs()
	for i := 0; i < b.N; i += nfnetlink.Datagrams {
		stream.renew()
		s.receives = full
		if _, err := r.Read(&batch, 0, 1); err != nil || batch.N != nfnetlink.Datagrams {
			b.Fatal(err, batch.N)
		}
	}
}

// BenchmarkNFLOGReceive reads packets that a rule has logged, of which many wait in the socket, and reports the CPU time of the reader.
func BenchmarkNFLOGReceive(b *testing.B) {
	for _, threshold := range []int{1, 32} {
		b.Run(fmt.Sprintf("threshold=%d", threshold), func(b *testing.B) {
			nettest.Require(b)
			h := nettest.NewHost(b)
			h.Run("nft", `table inet f { chain out { type filter hook output priority 0; udp dport 9 log prefix "DROP:fwd-default " group 5 drop; }; }`)
			s := open(b, h, fmt.Sprintf(`{"groups": [5], "queue_threshold": %d, "flush": "10ms"}`, threshold))
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var batch source.EventBatch
			var used time.Duration
			b.ReportAllocs()
			n := 0
			for n < b.N {
				const burst = 64 * 128 // whole messages, and fewer than fit
				b.StopTimer()
				sends(b, h, "127.0.0.1:9", burst)
				b.StartTimer()
				before := nettest.ThreadCPU(b)
				for read := 0; read < burst; read += batch.N {
					if _, err := s.Read(&batch, 0, 1); err != nil {
						b.Fatal(err)
					}
				}
				used += nettest.ThreadCPU(b) - before
				n += burst
			}
			b.ReportMetric(float64(used.Nanoseconds())/float64(n), "cpu-ns/msg")
		})
	}
}
