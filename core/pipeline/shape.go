package pipeline

// Shape is what a pipeline consists of, in the order of its configuration.
type Shape struct {
	Sources []Part `json:"sources"`
	Hooks   []Part `json:"hooks"`
	Sinks   []Part `json:"sinks"`
}

// Part is a named component.
type Part struct {
	Name   string `json:"name"`
	Plugin string `json:"plugin"`
	Events bool   `json:"events,omitempty"` // a source of events, not of packets
	Peer   string `json:"peer,omitempty"`   // the source by which a bridge sends on what comes in here
}

// Shape returns what runs. Safe for concurrent use.
func (pl *Pipeline) Shape() Shape {
	var s Shape
	for _, src := range pl.readers.Load().all() {
		s.Sources = append(s.Sources, Part{Name: src.Name, Plugin: src.Plugin, Events: src.Events, Peer: src.Peer})
	}
	for _, h := range pl.rules.Load().hooks {
		s.Hooks = append(s.Hooks, Part{Name: h.Name, Plugin: h.Plugin})
	}
	for _, sink := range pl.now().Sinks {
		s.Sinks = append(s.Sinks, Part{Name: sink.Name, Plugin: sink.Plugin})
	}
	return s
}
