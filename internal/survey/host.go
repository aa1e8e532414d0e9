package survey

import "net/netip"

// Host is what was found out about a machine.
type Host struct {
	Interfaces []Interface
	IPv4, IPv6 bool // forwards packets of that family
	Firewall   Firewall
	Conntrack  Conntrack
	Unseen     []string // what could not be looked at, and why; a sentence each, without a full stop
}

// Interface is a network interface.
type Interface struct {
	Name        string // any bytes but blanks and slashes, not always UTF-8
	Kind        string // of rtnetlink, such as "vlan" or "veth"; "device" for a network card
	Driver      string // of a network card, "" if it is not known
	Loopback    bool
	Up          bool           // it is switched on
	Carrier     bool           // packets can arrive
	Promiscuous bool           // somebody has it receive what is addressed to others
	Addresses   []netip.Prefix // each with its network; without link-local ones
	Dynamic     bool           // an address was given for a time
	PortOf      string         // the bridge or bond that it belongs to, "" for none
	VRF         string         // the routing table of its own that it belongs to, "" for none
	Parent      string         // the interface that it is made on top of, "" for none
	VLAN        uint16         // which VLAN of its parent it is, 0 for none
	Carries     bool           // others are made on top of it
	Default     bool           // the best default route of a family leads there
	Routes      int            // of the table main that lead there by a gateway or to other networks than its own; without default routes
	Forwards    bool           // what comes in there is sent on
}

// Firewall is what the rules of nftables do, also those of iptables-nft.
type Firewall struct {
	Known     bool // the rules could be read
	Tracks    bool // a rule makes the kernel track connections
	Groups    []uint16
	Taken     map[uint16]string   // groups of those that another program reads, and who it is
	KernelLog bool                // a rule logs to the kernel's own log
	Chains    map[string][]string // by interface: chains that rules send what comes in there to
}

// Conntrack is the connection tracking of the kernel.
type Conntrack struct {
	Absent  bool // the kernel does not have it, or cannot tell about it
	Entries int  // connections that are tracked now
	Max     int  // that there is room for; 0 if it is not loaded
	// Accounting and Timestamps are settings: whether packets, bytes and beginnings of connections are known.
	Accounting, Timestamps bool
	// ReadOnly says why the daemon could not change these settings, "" if nothing is known to be in the way.
	ReadOnly string
}
