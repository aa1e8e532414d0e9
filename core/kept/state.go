package kept

import (
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/sdk/event"
)

// Versions are those of everything that stands in the file. Another one of any of them is another layout.
type Versions struct {
	File    int `json:"file"`
	Replay  int `json:"replay"`
	Session int `json:"session"`
}

// versions are those that this program writes and reads.
func versions() Versions {
	return Versions{File: 2, Replay: replay.KeptVersion, Session: session.KeptVersion}
}

// MaxAge is how old what is kept may be: a day.
const MaxAge = 24 * time.Hour

// Head is what there is one of.
type Head struct {
	Versions Versions `json:"versions"`
	Boot     string   `json:"boot"`    // names the time since the kernel was started, to which clocks and interfaces belong
	Stopped  int64    `json:"stopped"` // Unix ns: nothing was read from then on
	Clock    int64    `json:"clock"`   // of the packets, the same moment; 0: there were none
	Seed     uint64   `json:"seed"`    // of hashes of flows
	Epoch    uint64   `json:"epoch"`
	NextID   uint64   `json:"next_id"`          // no session of packets has this id or a higher one
	Separate string   `json:"separate"`         // what tells sessions apart
	Zoning   *Zoning  `json:"zoning,omitempty"` // if that is zones
	Sinks    []Sink   `json:"sinks"`
	Sources  []Source `json:"sources"`
	Hooks    []Hook   `json:"hooks"`
	// Received are the packets that the kernel has counted at the sources' interfaces until then.
	Received map[string]uint64 `json:"received"`
}

// Zoning says in which zones packets came.
type Zoning struct {
	Zones   map[string]string `json:"zones"`    // by interface or prefix
	ByRoute bool              `json:"by_route"` // routes said it where neither did
}

// Sink is the stream of a sink.
type Sink struct {
	Name     string           `json:"name"`
	Plugin   string           `json:"plugin"`
	Epoch    uint64           `json:"epoch"`
	Position replay.Position  `json:"position"`
	Owed     []admission.Owed `json:"owed"`
	State    []byte           `json:"state,omitempty"` // of the sink itself
	Spool    *Spool           `json:"spool,omitempty"` // nil: it had none
}

// Spool is what stood between the ring of a sink and the sink: what it holds comes before the records of the ring.
type Spool struct {
	Path string    `json:"path"`
	Last event.Seq `json:"last"` // of the epoch
	Held uint64    `json:"held"` // records
}

// Source is a source that keeps something.
type Source struct {
	Name   string `json:"name"`
	Plugin string `json:"plugin"`
}

// Hook is what a hook has counted.
type Hook struct {
	Name     string         `json:"name"`
	Plugin   string         `json:"plugin"`
	Counters []hook.Counter `json:"counters"`
}

// Names are those of one run: what the ids of its records and sessions stand for. Names were only ever added: a generation knows the
// first ones.
type Names struct {
	First       uint32            `json:"first"` // generation
	Generations []Known           `json:"generations"`
	Zones       map[uint16]string `json:"zones"`
	Policies    []string          `json:"policies"`
	Filters     []event.Filter    `json:"filters"`
	Interfaces  map[uint32]string `json:"interfaces"`
	Apps        []string          `json:"applications"`
}

// Known is how many policies and filters a generation knows.
type Known struct {
	Policies int `json:"policies"`
	Filters  int `json:"filters"`
}

// Has reports whether a generation is one of these.
func (n *Names) Has(generation uint32) bool {
	return generation >= n.First && generation-n.First < uint32(len(n.Generations))
}

// Newest returns the newest generation.
func (n *Names) Newest() uint32 { return n.First + uint32(len(n.Generations)) - 1 }

// Of returns the names of a generation, which it has.
func (n *Names) Of(generation uint32) *event.Names {
	k := n.Generations[generation-n.First]
	return &event.Names{
		Generation: generation, Zones: n.Zones, Interfaces: n.Interfaces, Applications: n.Apps,
		Policies: n.Policies[:k.Policies:k.Policies], Filters: n.Filters[:k.Filters:k.Filters],
	}
}

// check reports whether generations know no more names than there are.
func (n *Names) check() bool {
	for _, k := range n.Generations {
		if k.Policies < 1 || k.Policies > len(n.Policies) || k.Filters < 1 || k.Filters > len(n.Filters) {
			return false
		}
	}
	return n.First > 0 && len(n.Generations) > 0 && int64(n.First)+int64(len(n.Generations)) < 1<<31
}

// Tail says how much there is.
type Tail struct {
	Sessions uint64   `json:"sessions"` // of packets
	Records  uint64   `json:"records"`
	Ends     []uint64 `json:"ends"` // by source: sessions whose end it would tell
}
