package explain

import (
	"fmt"
	"io"
	"strings"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/sdk/event"
)

// Answer is what became of a packet, and why. Its JSON is what `pipelined explain --json` prints.
type Answer struct {
	Packet string `json:"packet"`
	// OfRecord is what is to be known of the record that the packet was read from, such as that no hook has made it.
	OfRecord []string `json:"record,omitempty"`
	// DecidedBy is the rule of another firewall that the record names: the verdict is only what the hooks would make of the packet.
	DecidedBy   string `json:"decided_by,omitempty"`
	Interface   string `json:"interface,omitempty"` // that the packet came in on, if it is known
	Zone        string `json:"zone,omitempty"`      // that it comes from
	ToZone      string `json:"to_zone,omitempty"`   // that it goes to
	Application string `json:"application,omitempty"`

	Steps   []Step   `json:"steps"` // one for each time that a hook was asked, in order
	Verdict string   `json:"verdict"`
	Site    string   `json:"site,omitempty"` // where it was dropped
	Why     string   `json:"why,omitempty"`  // what decided, if no hook did
	Log     []Record `json:"log"`
	Notes   []string `json:"notes,omitempty"`
}

// Step is what one hook made of the packet.
type Step struct {
	Site    string   `json:"site"`
	Hook    string   `json:"hook"`
	Plugin  string   `json:"plugin"`
	Reverse bool     `json:"reverse,omitempty"` // it was asked about the packet as the other end would have sent it
	Looked  string   `json:"looked,omitempty"`
	Matched []Rule   `json:"matched,omitempty"` // the last one decided
	Verdict string   `json:"verdict"`
	Nearest *Nearest `json:"nearest,omitempty"`
}

// Rule is a rule of a hook.
type Rule struct {
	Sort  string `json:"sort"`
	Name  string `json:"name"`
	Then  string `json:"then"`
	Place *Place `json:"place,omitempty"`
}

func (r Rule) String() string {
	text := r.Sort + " " + r.Name
	if r.Place != nil {
		text += " at " + r.Place.String()
	}
	return text
}

// Place is where something stands in the configuration.
type Place = config.Place

// Nearest is the rule that comes nearest to letting a denied packet pass.
type Nearest struct {
	Rule
	Fails []Fail `json:"fails"`
}

// Fail is a condition that the packet does not meet.
type Fail struct {
	Text  string `json:"text"`
	Place *Place `json:"place,omitempty"`
}

// Record is a record that the packet makes.
type Record struct {
	Kind   string   `json:"kind"`
	Action string   `json:"action,omitempty"`
	Policy string   `json:"policy,omitempty"`
	Screen string   `json:"screen,omitempty"`
	Filter string   `json:"filter,omitempty"`
	Term   string   `json:"term,omitempty"`
	Sinks  []string `json:"sinks"` // that take records of the kind
}

// String returns what the record says, for people.
func (r Record) String() string {
	words, between := []string{r.Kind}, " "
	if r.Kind == event.SessionClose.String() {
		words[0] += " when the session ends"
		between = ", "
	}
	for _, part := range []struct{ name, value string }{
		{"policy", r.Policy}, {"screen", r.Screen}, {"filter", r.Filter}, {"term", r.Term}, {"action", r.Action},
	} {
		if part.value != "" {
			words = append(words, part.name+" "+part.value)
		}
	}
	text := strings.Join(words, between)
	if len(r.Sinks) == 0 {
		return text + ", to no sink"
	}
	return text + ", to " + strings.Join(r.Sinks, ", ")
}

// Write writes the answer for people.
func (a *Answer) Write(w io.Writer) error {
	var b strings.Builder
	line := func(head, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s "+format+"\n", append([]any{head}, args...)...)
	}
	line("packet", "%s", a.Packet)
	for _, text := range a.OfRecord {
		line("record", "%s", text)
	}
	known := func(name, none string) string {
		if name == "" {
			return none
		}
		return name
	}
	zones := "from " + known(a.Zone, "an unknown zone")
	if a.Interface != "" {
		zones += ", interface " + a.Interface
	}
	line("zone", "%s", zones)
	for i := range a.Steps {
		a.Steps[i].write(line)
	}
	if a.ToZone != "" {
		line("zone", "to %s, application %s", a.ToZone, known(a.Application, "unknown"))
	}
	verdict := a.Verdict
	if a.DecidedBy != "" {
		verdict = fmt.Sprintf("of the firewall, by its rule %q: see the record; of the hooks: %s", a.DecidedBy, a.Verdict)
	}
	if a.Site != "" {
		verdict += " at the " + a.Site + " site"
	}
	if a.Why != "" {
		verdict += ": " + a.Why
	}
	line("verdict", "%s", verdict)
	if len(a.Log) == 0 {
		line("log", "nothing")
	}
	for _, r := range a.Log {
		line("log", "%s", r)
	}
	for _, n := range a.Notes {
		line("note", "%s", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *Step) write(line func(head, format string, args ...any)) {
	about := ""
	if s.Reverse {
		about = ", asked about the other direction"
	}
	line(s.Site, "%s (%s)%s: %s", s.Hook, s.Plugin, about, s.Verdict)
	if s.Looked != "" {
		line("", "  looked at %s", s.Looked)
	}
	for _, r := range s.Matched {
		line("", "  %s: %s", r, r.Then)
	}
	if n := s.Nearest; n != nil {
		line("", "  nearest: %s would %s it, but for", n.Rule, n.Then)
		for _, f := range n.Fails {
			at := ""
			if f.Place != nil {
				at = " (" + f.Place.String() + ")"
			}
			line("", "    %s%s", f.Text, at)
		}
	}
}
