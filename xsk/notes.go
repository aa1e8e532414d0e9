package xsk

import (
	"fmt"
	"slices"
)

// noteSettings tells of settings of the interface that spoil what is seen.
func (i *Interface) noteSettings(config Config, link Link) {
	if i.mode == Native && !i.ZeroCopy() {
		i.note("copy mode: the driver has no zero-copy AF_XDP")
	}
	features, err := i.watch.ethtool.features(link.Name)
	if err != nil {
		i.note("offloads are unknown: %v", err)
	}
	for _, offload := range harmfulOffloads(features, i.mode, config.Bridge) {
		i.note("%s is on: %s; turn it off with: ethtool -K %s %s off",
			offload.Feature, offload.Effect, link.Name, offload.Short)
	}
	if !config.Promiscuous {
		i.note("not promiscuous: only packets to the interface's own address are seen, unless something else made it so")
	}
}

// Offload is a setting of an interface that spoils what a tap sees, or a bridge sends on.
type Offload struct {
	Feature, Short string // its names, of the kernel and of ethtool -K
	Effect         string
}

// harmfulOffloads returns the offloads among the features that are on that do harm in a mode, to a
// bridge or to a tap.
func harmfulOffloads(on map[string]bool, mode Mode, bridge bool) (list []Offload) {
	const merged = "packets arrive merged, and what is then too long is dropped"
	stripped := "the driver may strip VLAN tags, and the VLAN is then unknown"
	if bridge {
		stripped = "the driver may strip VLAN tags, and packets then leave the bridge without them"
	}
	for _, offload := range []Offload{
		{"rx-vlan-hw-parse", "rxvlan", stripped},
		{"rx-gro", "gro", merged},
		{"rx-gro-hw", "rx-gro-hw", merged},
		{"rx-lro", "lro", merged},
	} {
		afterUs := offload.Feature == "rx-gro" && mode == Native
		if on[offload.Feature] && !afterUs {
			list = append(list, offload)
		}
	}
	return list
}

func (i *Interface) note(format string, args ...any) {
	i.notes = append(i.notes, fmt.Sprintf(format, args...))
}

// Notes returns what the operator should hear: why the interface is slower, or sees less, than it could. One sentence each.
func (i *Interface) Notes() []string {
	notes := slices.Clone(i.notes)
	i.mu.Lock()
	if i.peerNote != "" {
		notes = append(notes, i.peerNote)
	}
	i.mu.Unlock()
	link := i.Link()
	if link.MTU+linkOverhead > i.MaxPacket() {
		notes = append(notes, fmt.Sprintf("packets over %d bytes are dropped, and the MTU of %s is %d",
			i.MaxPacket(), link.Name, link.MTU))
	}
	if !link.Up && !link.Gone {
		notes = append(notes, link.Name+" is down")
	}
	return notes
}
