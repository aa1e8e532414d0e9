package sinkv1

import "github.com/rtflow/pipelined/sdk/event"

// FromNames returns names as they travel.
func FromNames(n *event.Names) *Names {
	m := &Names{
		Generation:   n.Generation,
		Zones:        make(map[uint32]string, len(n.Zones)),
		Policies:     n.Policies,
		Interfaces:   n.Interfaces,
		Applications: n.Applications,
	}
	for id, name := range n.Zones {
		m.Zones[uint32(id)] = name
	}
	for _, f := range n.Filters {
		m.Filters = append(m.Filters, &Filter{Name: f.Name, Terms: f.Terms})
	}
	return m
}

// ToNames returns names as sinks see them.
func ToNames(m *Names) *event.Names {
	n := &event.Names{
		Generation:   m.GetGeneration(),
		Zones:        make(map[uint16]string, len(m.GetZones())),
		Policies:     m.GetPolicies(),
		Interfaces:   m.GetInterfaces(),
		Applications: m.GetApplications(),
	}
	for id, name := range m.GetZones() {
		n.Zones[uint16(id)] = name
	}
	for _, f := range m.GetFilters() {
		n.Filters = append(n.Filters, event.Filter{Name: f.GetName(), Terms: f.GetTerms()})
	}
	return n
}
