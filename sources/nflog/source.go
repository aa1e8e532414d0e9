package nflog

import (
	"errors"
	"fmt"
	"time"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/nfnetlink"
)

// Config says what to read.
type Config struct {
	Groups []uint16
	// Patterns are tried in order; a prefix that none matches is the name of its rule.
	Patterns []*Pattern
	// Outcome is what becomes of a packet whose prefix names no action.
	Outcome outcome
	Buffer  int // bytes of the receive buffer
	// SnapLength is how many bytes of a packet the kernel copies.
	SnapLength int
	// QueueThreshold is how many packets of a group the kernel puts into one message, Flush how long it waits for them.
	QueueThreshold int
	Flush          time.Duration
	// Warn is told what an operator should know: a message and pairs of key and value. May be nil.
	Warn func(msg string, args ...any)
}

// Source is an open source. All groups have one socket: their packets come in the order in which the kernel logged them, and a
// flood in one group costs no system call of its own. What is lost is known by group all the same, since the numbers are those
// of the group.
type Source struct {
	config Config
	socket *nfnetlink.Socket
	buffer int // as granted
	reader
}

// Open binds the groups in the network namespace of the calling thread.
func Open(config Config) (_ *Source, err error) {
	socket, err := nfnetlink.OpenSized(nfnetlink.Datagrams, datagramSize(config.QueueThreshold, config.SnapLength))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, socket.Close())
		}
	}()
	granted, err := socket.SetBuffer(config.Buffer)
	if err != nil {
		return nil, err
	}
	if granted < config.Buffer && config.Warn != nil {
		config.Warn("the kernel grants a smaller receive buffer", "bytes", granted, "limit", "net.core.rmem_max")
	}
	s := &Source{config: config, socket: socket, buffer: granted}
	s.reader.init(socket, &config, time.Now().UnixNano())
	for _, group := range config.Groups {
		if s.rest, err = bind(socket, group, &config, s.rest); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// FD returns the descriptor of the socket.
func (s *Source) FD() int { return s.socket.FD() }

// Close closes the socket, which unbinds the groups. Nobody reads any more.
func (s *Source) Close() error {
	if err := s.socket.Close(); err != nil {
		return fmt.Errorf("close the netlink socket: %w", err)
	}
	return nil
}

var _ source.EventStream = (*Source)(nil)
