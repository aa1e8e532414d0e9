package nflog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/nfnetlink"
)

// Messages of the subsystem, and attributes and values of those that bind a group (linux/netfilter/nfnetlink_log.h).
const (
	messagePacket = unix.NFNL_SUBSYS_ULOG << 8
	messageConfig = unix.NFNL_SUBSYS_ULOG<<8 | 1

	attrCommand    = 1
	attrMode       = 2
	attrBufferSize = 3
	attrTimeout    = 4
	attrThreshold  = 5
	attrFlags      = 6

	commandBind   = 1
	copyPacket    = 2
	flagSequences = 1
)

const (
	flushUnit = 10 * time.Millisecond // of the kernel's timeout
	// answerTime is how long the kernel may take to bind a group, for which it may have to load a module.
	answerTime = 30 * time.Second
	// attributesSize is how much of a message the attributes beside the payload take, at most but for odd link layers.
	attributesSize = 256
	// minDatagram is room for what the kernel allocates for a message by default, maxDatagram for the most that it is asked to.
	minDatagram = 8 << 10
	maxDatagram = 64 << 10
	// overhead is what the kernel needs of an allocation for itself; rounded up.
	overhead = 512
)

// datagramSize returns the size of what the kernel is to allocate for a message, a power of two, so that what it has beyond the
// size asked for is not filled.
func datagramSize(threshold, snapLength int) int {
	need := threshold*(attributesSize+snapLength) + overhead
	return min(max(1<<bits.Len(uint(need-1)), minDatagram), maxDatagram)
}

// bindRequest returns the request that binds a group to the socket and sets all about it.
func bindRequest(seq uint32, group uint16, c *Config) []byte {
	b, start := nfnetlink.AppendMessage(nil, nfnetlink.Message{
		Type: messageConfig, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, Seq: seq, Family: unix.AF_UNSPEC, ResID: group,
	})
	b = nfnetlink.AppendAttr(b, attrCommand, []byte{commandBind})
	b = nfnetlink.AppendAttr(b, attrMode, append(binary.BigEndian.AppendUint32(nil, uint32(c.SnapLength)), copyPacket, 0))
	if size := datagramSize(c.QueueThreshold, c.SnapLength); size > minDatagram {
		b = nfnetlink.AppendUint32(b, attrBufferSize, uint32(size-overhead))
	}
	b = nfnetlink.AppendUint32(b, attrTimeout, uint32((c.Flush+flushUnit-1)/flushUnit))
	b = nfnetlink.AppendUint32(b, attrThreshold, uint32(c.QueueThreshold))
	b = nfnetlink.AppendUint16(b, attrFlags, flagSequences)
	return nfnetlink.EndMessage(b, start)
}

// Errors of Open.
var (
	// ErrNoNFLOG says that the kernel has no NFLOG.
	ErrNoNFLOG = errors.New("the kernel has no NFLOG (modprobe nfnetlink_log)")
	// ErrGroupTaken says that another socket has bound the group: there is one at a time.
	ErrGroupTaken = errors.New("another process reads the group")
)

// bind binds a group and appends the packets that arrive meanwhile to early.
func bind(socket *nfnetlink.Socket, group uint16, c *Config, early []byte) ([]byte, error) {
	err := socket.Execute(bindRequest(socket.NextSeq(), group, c), answerTime, func(m nfnetlink.Message) {
		if m.Type == messagePacket {
			var start int
			early, start = nfnetlink.AppendMessage(early, m)
			early = nfnetlink.EndMessage(early, start)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("NFLOG group %d: %w", group, refusal(group, err))
	}
	return early, nil
}

// refusal says why the kernel has refused to bind a group, as far as that can be known.
func refusal(group uint16, err error) error {
	switch {
	case errors.Is(err, unix.EINVAL):
		return ErrNoNFLOG
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w (often ulogd2): stop it, or choose another group", ErrGroupTaken)
	case !errors.Is(err, nfnetlink.ErrPermission):
		return err
	}
	// The kernel gives the same answer to a process without the capability, and where another process has the group.
	owners, listErr := readOwners(os.DirFS("/"))
	if listErr != nil {
		if caps, capsErr := machine.Effective(); capsErr == nil && caps.Has(machine.NetAdmin) {
			return fmt.Errorf("%w (often ulogd2): stop it, or choose another group", ErrGroupTaken)
		}
	}
	who, taken := owners[group]
	if !taken {
		return err
	}
	return fmt.Errorf("%w (%s): stop it, or choose another group", ErrGroupTaken, who)
}
