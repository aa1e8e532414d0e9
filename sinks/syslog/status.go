package syslog

import (
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/sdk"
)

// counts are the sink's own counters.
type counts struct {
	connections, connectErrors, disconnects atomic.Uint64
	messages, bytes, repeated               atomic.Uint64
	sendErrors, fragmented                  atomic.Uint64
}

// Counters implements [sdk.CounterReporter].
func (k *Sink) Counters() []sdk.Counter {
	c := &k.counts
	return []sdk.Counter{
		{Name: "connections", Value: c.connections.Load()},
		{Name: "connect_errors", Value: c.connectErrors.Load()},
		{Name: "disconnects", Value: c.disconnects.Load()},
		{Name: "messages", Value: c.messages.Load()},
		{Name: "bytes", Value: c.bytes.Load()},
		{Name: "repeated", Value: c.repeated.Load()},
		{Name: "send_errors", Value: c.sendErrors.Load()},
		{Name: "fragmented", Value: c.fragmented.Load()},
	}
}

// State is what a connection to an address is in.
type State string

const (
	Standby    State = "standby"    // not needed
	Connecting State = "connecting" // on its way
	Connected  State = "connected"
	Down       State = "down" // see Error; tried again
)

// Status is what a sink reports about itself.
type Status struct {
	Strategy  string          `json:"strategy,omitempty"` // of several addresses
	InUse     []string        `json:"in_use,omitempty"`   // of several: those that are connected
	Trouble   []string        `json:"trouble,omitempty"`  // what is or was last wrong with an address, by address
	Addresses []AddressStatus `json:"addresses"`
}

// AddressStatus is one address for an operator.
type AddressStatus struct {
	Address        string    `json:"address"`
	State          State     `json:"state"`
	Since          time.Time `json:"since,omitzero"`  // of the state
	Error          string    `json:"error,omitempty"` // until something is acknowledged
	Peer           string    `json:"peer,omitempty"`
	TLS            string    `json:"tls,omitempty"`      // version and cipher suite
	PathMTU        int       `json:"path_mtu,omitempty"` // UDP
	Unacknowledged int64     `json:"unacknowledged"`     // records on their way
}

// Status returns a [Status].
func (k *Sink) Status() any {
	st := Status{}
	if len(k.links) > 1 {
		st.Strategy = k.strategy.String()
	}
	for _, l := range k.links {
		a := l.status()
		st.Addresses = append(st.Addresses, a)
		if a.State == Connected && len(k.links) > 1 {
			st.InUse = append(st.InUse, a.Address)
		}
		if a.Error != "" {
			st.Trouble = append(st.Trouble, a.Error)
		}
	}
	return st
}
