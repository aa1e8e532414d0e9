package plan

import (
	"fmt"
	"slices"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/spelling"
)

// Absent returns a sentence, with its place in the configuration, for each interface that chained live sources or zones name and that is
// not among the names of the interfaces of a host; none if there are no names. Such an interface may come later, or the
// configuration may be meant for another host. Those that a source declares optional have a list of their own: nothing is wrong with them.
func (p *Plan) Absent(host []string) (notes, optional []string) {
	if !p.Live || p.options.Input != nil || len(host) == 0 {
		return nil, nil
	}
	told := make(map[string]bool)
	note := func(s *config.Section, name, without string, declared bool) {
		parent, _ := zone.SplitVLAN(name)
		if name == "" || told[name] || slices.Contains(host, name) || slices.Contains(host, parent) {
			return
		}
		told[name] = true
		file, line, column := s.Place()
		text := fmt.Sprintf("%s:%d:%d: %s: this host has no interface %s%s", file, line, column, s.Path(), spelling.Quote(name), without)
		if declared { // it is expected to be away: the name of another is no better
			optional = append(optional, text)
		} else {
			notes = append(notes, text+spelling.Suggest(name, host).String())
		}
	}
	for _, c := range p.File.Pipeline.Sources {
		for _, s := range p.Sources {
			if s.Name != c.Name {
				continue
			}
			for _, name := range s.Interfaces {
				if slices.Contains(s.Optional, name) {
					note(c.Section, name, ", and it is read when it appears", true)
				} else {
					note(c.Section, name, ", and a daemon does not start without it", false)
				}
			}
		}
	}
	for _, z := range p.File.Zones {
		for _, name := range z.Interfaces {
			note(p.File.Zone(z.Name), name, "", false)
		}
	}
	return notes, optional
}
