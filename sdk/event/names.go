package event

// Names holds the names for the ids in the records of one configuration generation. It must not change once it is handed
// out, and is then safe for concurrent use. Its methods return "" for an unknown id; the formats decide what to print.
type Names struct {
	Generation   uint32
	Zones        map[uint16]string
	Policies     []string // by policy id; 0 is "no policy"
	Filters      []Filter // by filter id; 0 is "no filter"
	Interfaces   map[uint32]string
	Applications []string // by application id; 0 is "unknown"
}

// Filter holds the names of a firewall filter and of its terms, in order.
type Filter struct {
	Name  string
	Terms []string
}

// Zone returns the zone's name.
func (n *Names) Zone(id uint16) string { return n.Zones[id] }

// Interface returns the interface's name.
func (n *Names) Interface(id uint32) string { return n.Interfaces[id] }

// Policy returns the policy's name.
func (n *Names) Policy(id uint32) string {
	if int64(id) < int64(len(n.Policies)) {
		return n.Policies[id]
	}
	return ""
}

// Application returns the application's name.
func (n *Names) Application(id uint16) string {
	if int(id) < len(n.Applications) {
		return n.Applications[id]
	}
	return ""
}

// Term returns the names of a filter and of one of its terms.
func (n *Names) Term(filter, term uint32) (filterName, termName string) {
	if int64(filter) >= int64(len(n.Filters)) {
		return "", ""
	}
	f := &n.Filters[filter]
	if int64(term) < int64(len(f.Terms)) {
		termName = f.Terms[term]
	}
	return f.Name, termName
}
