package config

import (
	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/table"
)

// File is a whole configuration: pipeline.toml and what is in its drop-in directory. Every default is applied. It may be
// used only if its [Problems] hold no error.
type File struct {
	Files []string // what was read, in this order; the first is pipeline.toml

	Node      Node
	Service   Service
	Pipeline  Pipeline
	Admission admission.Options
	Replay    replay.Options // what holds for a sink without a `replay` of its own; each Component has its own already
	Sessions  session.Options
	Zones     []zone.Zone // in the order of the file

	// All that are defined, in the order of the file, chained or not.
	Sources, Hooks, Sinks []*Component

	pipeline *Section        // nil if there is none
	complete bool            // every file could be parsed
	meant    map[string]bool // names of tables of which there is one with a similar, unknown name
	zones    map[string]*Section
}

// Sure reports whether what the file does not define in such tables, "zones" or "sinks", is not defined at all: it may
// stand in a file that could not be parsed, or in a table whose name is misspelled.
func (f *File) Sure(tables string) bool { return f.complete && !f.meant[tables] }

// Zone returns the table of a zone, nil if there is no such zone.
func (f *File) Zone(name string) *Section { return f.zones[name] }

// Parse reads a configuration from one text; name stands in front of its problems. The File is never nil.
func Parse(name string, data []byte) (*File, *Problems) {
	problems := new(Problems)
	t := newTables()
	t.add(name, string(data), problems)
	return t.file(), problems
}

// file validates the tables.
func (t *tables) file() *File {
	f := &File{Files: t.files, pipeline: t.single["pipeline"], complete: t.complete, meant: t.meant, zones: make(map[string]*Section)}
	f.Node = readNode(t.section("node"))
	f.Service = readService(t.section("service"))
	f.Admission = admission.Read(t.section("admission"))
	f.Sessions = session.Read(t.section("sessions"))
	f.Zones = readZones(t.named["zones"])
	for _, s := range t.named["zones"] {
		f.zones[s.name] = s
	}
	f.Replay = replay.DefaultOptions().Override(t.section("replay"))
	f.Sources = readComponents(sourceFamily(), t.named["sources"])
	f.Hooks = readComponents(hookFamily(), t.named["hooks"])
	f.Sinks = readSinks(t.named["sinks"], f.Replay)
	f.readPipeline()
	return f
}

func readZones(tables []*Section) []zone.Zone {
	sections := make([]table.Section, len(tables))
	for i, s := range tables {
		checkName(s)
		sections[i] = s
	}
	return zone.Read(sections)
}
