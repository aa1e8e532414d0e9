package config

// File is a whole configuration: pipeline.toml and what is in its drop-in directory. Every default is applied. It may be
// used only if its [Problems] hold no error.
type File struct {
	Files []string // what was read, in this order; the first is pipeline.toml

	Node      Node
	Service   Service
	Pipeline  Pipeline
	Admission Admission
	Replay    Replay // what holds for a sink without a `replay` of its own; each Component has its own already
	Sessions  Sessions
	Zones     []Zone // in the order of the file

	// All that are defined, in the order of the file, chained or not.
	Sources, Hooks, Sinks []*Component

	pipeline *Section        // nil if there is none
	complete bool            // every file could be parsed
	meant    map[string]bool // names of tables that seem to be there, misspelled
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
	t.add(name, data, problems)
	return t.file(), problems
}

// file validates the tables.
func (t *tables) file() *File {
	f := &File{Files: t.files, pipeline: t.single["pipeline"], complete: t.complete, meant: t.meant, zones: make(map[string]*Section)}
	f.Node = readNode(t.single["node"])
	f.Service = readService(t.single["service"])
	f.Admission = readAdmission(t.single["admission"])
	f.Sessions = readSessions(t.single["sessions"])
	f.Zones = readZones(t.named["zones"])
	for _, s := range t.named["zones"] {
		f.zones[s.name] = s
	}
	replay := readReplay(t.single["replay"])
	f.Replay = replay.Replay
	f.Sources = readComponents(sourceFamily(), t.named["sources"], nil)
	f.Hooks = readComponents(hookFamily(), t.named["hooks"], nil)
	f.Sinks = readComponents(sinkFamily(), t.named["sinks"], replay.ofSink)
	f.readPipeline()
	return f
}
