package metrics

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Unused says why less than half of a capture's packets could be used, "" if at least half could. skipped is the number of
// packets whose link type is not read: they are not in the ledger.
func (p *Packets) Unused(skipped uint64) string {
	all := p.Received + skipped
	used := p.Received - p.Refused - p.NotIP
	if all == 0 || used >= all-used {
		return ""
	}
	var why []string
	if p.NotIP > 0 {
		why = append(why, fmt.Sprintf("%d hold no IP", p.NotIP))
	}
	if skipped > 0 {
		why = append(why, fmt.Sprintf("%d have a link type that is not read", skipped))
	}
	for _, cause := range slices.Sorted(maps.Keys(p.RefusedAs)) {
		if n := p.RefusedAs[cause]; n > 0 {
			why = append(why, fmt.Sprintf("%d are refused (%s)", n, cause))
		}
	}
	return fmt.Sprintf("%d of %d packets could be used: %s", used, all, strings.Join(why, ", "))
}
