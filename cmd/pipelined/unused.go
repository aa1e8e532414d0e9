package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/metrics"
)

// unused says why less than half of a capture could be used; "" if more could. skipped counts the packets of link types that are not
// read, which are not in the ledger.
func unused(p *metrics.Packets, skipped uint64) string {
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
