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

	Tests []Test // in the order of the files

	pipeline   *Section        // nil if there is none
	sessions   *Section        // the same
	parsed     bool            // every file could be parsed
	misspelled map[string]bool // tables whose name is similar to that of an unknown table
	zones      map[string]*Section
	tables     []*Section // all that are read, by path
}

// Complete reports whether all that is defined in such tables, "zones" or "sinks", is known. More of them may be in a file
// that could not be parsed, or under a misspelled name.
func (f *File) Complete(tables string) bool { return f.parsed && !f.misspelled[tables] }

// Zone returns the table of a zone, nil if there is no such zone.
func (f *File) Zone(name string) *Section { return f.zones[name] }

// SessionsTable returns the table [sessions], nil if there is none.
func (f *File) SessionsTable() *Section { return f.sessions }

// PipelineTable returns the table [pipeline], nil if there is none.
func (f *File) PipelineTable() *Section { return f.pipeline }

// Parse reads a configuration from one text; name stands in front of its problems. The File is never nil.
func Parse(name string, data []byte) (*File, *Problems) {
	problems := new(Problems)
	t := newTables()
	t.add(name, string(data), problems)
	return t.file(), problems
}

// file validates the tables.
func (t *tables) file() *File {
	f := &File{Files: t.files, pipeline: t.single["pipeline"], sessions: t.single["sessions"], parsed: t.parsed, misspelled: t.misspelled, zones: make(map[string]*Section)}
	f.Node = readNode(t.section("node"))
	f.Service = readService(t.section("service"))
	f.Admission = admission.Read(t.section("admission"))
	f.Sessions = session.Read(t.section("sessions"))
	f.Zones = readZones(t.named["zones"])
	for _, s := range t.named["zones"] {
		f.zones[s.name] = s
	}
	f.tables = t.all()
	f.Replay = replay.DefaultOptions().Override(t.section("replay"))
	f.Sources = readComponents(sourceFamily(), t.named["sources"])
	f.Hooks = readComponents(hookFamily(), t.named["hooks"])
	f.Sinks = readSinks(t.named["sinks"], f.Replay)
	f.Tests = readTests(t.tests)
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
