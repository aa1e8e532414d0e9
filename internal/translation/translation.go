// Package translation asks the kernel's connection tracking how this host translates flows.
package translation

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/internal/nfnetlink"
)

// ErrCapability is returned when the process may not ask.
var ErrCapability = errors.New(`nat = "conntrack" asks with the capability CAP_NET_ADMIN`)

// Kernel is the connection tracking of a network namespace. It is for one goroutine.
type Kernel struct {
	socket  *nfnetlink.Socket
	request []byte
	entry   ctnetlink.Entry
}

var _ source.Translator = (*Kernel)(nil)

const (
	// answers is the buffer of the socket, which holds the answers to one set of questions.
	answers = 1 << 20
	// Types of the messages of ICMP that have an entry of their own.
	echoRequest   = 8
	echoRequestV6 = 128
)

// Open opens the connection tracking of the namespace of the calling thread. It returns [ErrCapability] where the kernel lets the
// process not ask.
func Open() (_ *Kernel, err error) {
	socket, err := nfnetlink.Open()
	if err != nil {
		return nil, fmt.Errorf("connection tracking: %w", err)
	}
	k := &Kernel{socket: socket}
	defer func() {
		if err != nil {
			err = errors.Join(err, socket.Close())
		}
	}()
	if _, err := socket.SetBuffer(answers); err != nil {
		return nil, fmt.Errorf("connection tracking: %w", err)
	}
	// A flow that does not exist: the answer says whether the process may ask.
	err = k.Translate([]source.Question{{Flow: packet.Tuple{Family: packet.IPv4, Proto: packet.ProtoUDP}}})
	if errors.Is(err, unix.EPERM) {
		return nil, ErrCapability
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// Close closes the socket.
func (k *Kernel) Close() error { return k.socket.Close() }

// Translate implements [source.Translator]. It knows the flows of conntrack zone 0, whichever end has begun them.
func (k *Kernel) Translate(questions []source.Question) error {
	k.request = k.request[:0]
	first := uint32(0)
	for i := range questions {
		seq := k.socket.NextSeq()
		if i == 0 {
			first = seq
		}
		k.request = ctnetlink.AppendGet(k.request, seq, k.ask(&questions[i].Flow))
	}
	if err := k.socket.Send(k.request); err != nil {
		return fmt.Errorf("ask for the translation of a flow: %w", err)
	}
	// The kernel has answered each before Send returned.
	var refusal error
	for {
		n, err := k.socket.Receive()
		if err != nil {
			return fmt.Errorf("answers about the translation of flows: %w", err)
		}
		if n == 0 {
			return refusal
		}
		for i := range n {
			if err := k.read(k.socket.Datagram(i), first, questions); err != nil {
				refusal = err
			}
		}
	}
}

// ask returns the entry to look for.
func (k *Kernel) ask(flow *packet.Tuple) *ctnetlink.Entry {
	k.entry = ctnetlink.Entry{Orig: *flow}
	switch flow.Proto {
	case packet.ProtoICMP:
		k.entry.ICMPType = echoRequest
	case packet.ProtoICMPv6:
		k.entry.ICMPType = echoRequestV6
	}
	return &k.entry
}

// read takes the answers of a datagram. Sequence numbers of questions count up from first.
func (k *Kernel) read(b []byte, first uint32, questions []source.Question) error {
	for {
		m, rest, ok := nfnetlink.NextMessage(b)
		if !ok {
			return nil
		}
		b = rest
		i := m.Seq - first
		if i >= uint32(len(questions)) {
			continue
		}
		if m.Type == unix.NLMSG_ERROR {
			if errno := m.Errno(); errno != 0 && errno != unix.ENOENT {
				return fmt.Errorf("ask for the translation of a flow: %w", errno)
			}
			continue
		}
		if ctnetlink.KindOf(&m) != ctnetlink.Other && ctnetlink.Decode(&m, &k.entry) {
			k.answer(&questions[i])
		}
	}
}

// answer answers a question with the entry at hand, which has the flow as either of its directions.
func (k *Kernel) answer(q *source.Question) {
	flow := q.Flow
	if packet.IsICMP(flow.Proto) {
		flow.DstPort = 0
	}
	switch flow {
	case k.entry.Orig:
		q.Reply, q.Found = k.entry.Reply, true
	case k.entry.Reply:
		q.Reply, q.Found = k.entry.Orig, true
	}
	if packet.IsICMP(flow.Proto) {
		q.Reply.DstPort = q.Flow.DstPort // the sequence number, which has no part in it
	}
}
