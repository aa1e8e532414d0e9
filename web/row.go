package web

import (
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/sdk/event"
)

// row is an event in the table. What is not known is "".
type row struct {
	Time    int64  `json:"t"` // Unix ms
	Kind    string `json:"kind"`
	What    string `json:"what"` // has happened, in a word
	Src     string `json:"src,omitempty"`
	Dst     string `json:"dst,omitempty"`
	Service string `json:"service,omitempty"`
	Rule    string `json:"rule,omitempty"`
	Term    string `json:"term,omitempty"`
	Zones   string `json:"zones,omitempty"`
	More    string `json:"more,omitempty"` // what else a line of text says of it
}

// Words of a line of text: the time, what has happened, source, ">", destination, service, and what the kind has beside.
const (
	wordWhat    = 1
	wordSrc     = 2
	wordDst     = 4
	wordService = 5
	wordMore    = 6
)

// row returns an event for the table: the words of its line of text, in which names have no blanks, and beside them what the table has
// columns for.
func (g *gathering) row(rec *event.Record, n *event.Names) row {
	g.line = g.encoder.Append(g.line[:0], rec, n)
	words := strings.Fields(string(g.line))
	r := row{Time: rec.Time() / 1e6, Kind: rec.Kind().String()}
	if len(words) > wordWhat {
		r.What = words[wordWhat]
	}
	if rec.Kind() == event.Loss || len(words) < wordMore {
		r.More = strings.Join(words[min(wordSrc, len(words)):], " ")
		return r
	}
	r.Src, r.Dst, r.Service = words[wordSrc], words[wordDst], words[wordService]
	r.Rule, r.Term = tail.Rule(rec, n)
	if in, out := n.Zone(rec.InZone()), n.Zone(rec.OutZone()); in != "" || out != "" {
		r.Zones = in + ">" + out
	}
	shown := []string{r.Rule, r.Rule + "/" + r.Term, r.Zones}
	for i := range shown {
		shown[i] = strings.ReplaceAll(shown[i], " ", "_")
	}
	rest := slices.DeleteFunc(words[wordMore:], func(w string) bool { return slices.Contains(shown, w) })
	r.More = strings.Join(rest, " ")
	return r
}
