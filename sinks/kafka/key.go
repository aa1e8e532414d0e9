package kafka

import (
	"net/netip"
	"strconv"

	"github.com/rtflow/pipelined/sdk/event"
)

// lossKey is the key of loss records, which have no flow.
const lossKey = "loss"

// appendKey appends the record's flow: protocol and both ends, the lower one first, so that both directions have one key:
// "6 10.0.1.21:52042 203.0.113.9:443". Open and close of a session, and what was denied of the same flow, share it.
func appendKey(dst []byte, r *event.Record) []byte {
	if r.Kind() == event.Loss {
		return append(dst, lossKey...)
	}
	a, b := netip.AddrPortFrom(r.Src(), r.SrcPort()), netip.AddrPortFrom(r.Dst(), r.DstPort())
	if b.Compare(a) < 0 {
		a, b = b, a
	}
	dst = strconv.AppendUint(dst, uint64(r.Proto()), 10)
	dst = append(dst, ' ')
	dst = a.AppendTo(dst)
	dst = append(dst, ' ')
	return b.AppendTo(dst)
}
