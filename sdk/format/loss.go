package format

import "github.com/rtflow/pipelined/sdk/event"

// appendLoss appends a loss record as free text, from the reason on: Junos has no such message, and structured data
// would need an enterprise number of the project. zone is missing where events of several zones were lost.
func appendLoss(b []byte, r *event.Record, n *event.Names) []byte {
	b = append(b, r.LossReason().String()...)
	if id := r.InZone(); id != 0 {
		b = append(b, " zone="...)
		b = appendWord(b, n.Zone(id))
	}
	b = append(b, " since="...)
	b = appendTimeOr(b, r.LossSince(), "-")
	for k, lost := range r.LossCounts() {
		if lost == 0 {
			continue
		}
		b = append(b, ' ')
		b = append(b, event.Kind(k).String()...)
		b = append(b, '=')
		b = appendUint(b, lost)
	}
	if n := r.LossPackets(); n > 0 {
		b = append(b, " packets="...)
		b = appendUint(b, n)
	}
	return b
}
