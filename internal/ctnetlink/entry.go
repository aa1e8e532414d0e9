package ctnetlink

import (
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/nfnetlink"
)

// Entry is one connection as the kernel tracks it. What a message does not tell is 0.
type Entry struct {
	// Orig is what the client sends and Reply what the server sends, each before any translation: Reply is the reverse of Orig where
	// nothing is translated. ICMP has its identifier as source port, and 0 as destination port, in both.
	Orig, Reply packet.Tuple
	// ICMPType and ICMPCode are those of Orig.
	ICMPType, ICMPCode uint8
	Zone               uint16 // conntrack zone of Orig

	ID      uint32 // as conntrack -o id prints it
	Status  Status
	State   State  // of TCP
	Timeout uint32 // seconds until the entry expires
	Mark    uint32

	OrigPackets, OrigBytes   uint64
	ReplyPackets, ReplyBytes uint64
	Counted                  bool // the message has counters

	Start, Stop int64 // Unix nanoseconds: when the entry was made, and destroyed
	Time        int64 // of the event, from Linux 6.14 on
}

// Status is a set of bits (enum ip_conntrack_status).
type Status uint32

// Bits of Status.
const (
	SeenReply Status = 1 << 1
	Assured   Status = 1 << 2
	SrcNAT    Status = 1 << 4
	DstNAT    Status = 1 << 5
	Dying     Status = 1 << 9
)

// State is the state of a TCP connection (enum tcp_conntrack).
type State uint8

// Values of State.
const (
	NoState State = iota
	SynSent
	SynRecv
	Established
	FinWait
	CloseWait
	LastAck  // both ends have sent a FIN
	TimeWait // and both were acknowledged
	Close    // reset
	SynSent2
)

// Kind is what a message is about.
type Kind uint8

// Values of Kind.
const (
	Other   Kind = iota // not an entry
	New                 // an entry was made
	Update              // an entry has changed; of an answer to a request: the entry
	Destroy             // an entry was removed
)

// Types of messages (enum cntl_msg_types).
const (
	subsystem = unix.NFNL_SUBSYS_CTNETLINK << 8

	messageNew    = subsystem
	messageGet    = subsystem | 1
	messageDelete = subsystem | 2
	messageStats  = subsystem | 5
)

// KindOf returns what a message is about.
func KindOf(m *nfnetlink.Message) Kind {
	switch m.Type {
	case messageNew:
		if m.Flags&unix.NLM_F_CREATE != 0 {
			return New
		}
		return Update
	case messageDelete:
		return Destroy
	}
	return Other
}
