package ctnetlink

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/nfnetlink"
)

// Loads of a socket filter that find an attribute (linux/filter.h): the one of type X behind offset A, and the one of type X in the
// attribute at offset A. They give its offset, 0 if there is none.
const (
	loadAttr   = 0xfffff000 + 12 // SKF_AD_OFF + SKF_AD_NLATTR
	loadNested = 0xfffff000 + 16 // SKF_AD_OFF + SKF_AD_NLATTR_NEST
)

// WithoutUpdates returns a socket filter that passes every message but updates of TCP connections that come into one of the states.
func WithoutUpdates(states ...State) []unix.SockFilter {
	var typ, create [2]byte // as they stand in a message
	binary.NativeEndian.PutUint16(typ[:], messageNew)
	binary.NativeEndian.PutUint16(create[:], unix.NLM_F_CREATE)
	find := func(load, typ uint32) []unix.SockFilter {
		return []unix.SockFilter{{Code: unix.BPF_LDX | unix.BPF_IMM, K: typ}, {Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: load}}
	}
	var program []unix.SockFilter
	add := func(part ...unix.SockFilter) { program = append(program, part...) }
	var passes []int // jumps to where the message passes
	passIf := func(code uint16, k uint32, whether bool) {
		passes = append(passes, len(program))
		jump := unix.SockFilter{Code: unix.BPF_JMP | code | unix.BPF_K, K: k}
		if whether {
			jump.Jt = 1
		} else {
			jump.Jf = 1
		}
		add(jump)
	}
	add(unix.SockFilter{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 4})
	passIf(unix.BPF_JEQ, uint32(binary.BigEndian.Uint16(typ[:])), false)
	add(unix.SockFilter{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 6})
	passIf(unix.BPF_JSET, uint32(binary.BigEndian.Uint16(create[:])), true)
	add(unix.SockFilter{Code: unix.BPF_LD | unix.BPF_IMM, K: nfnetlink.HeaderSize})
	add(find(loadAttr, attrProtoInfo)...)
	passIf(unix.BPF_JEQ, 0, true)
	add(find(loadNested, protoInfoTCP)...)
	passIf(unix.BPF_JEQ, 0, true)
	add(find(loadNested, tcpState)...)
	passIf(unix.BPF_JEQ, 0, true)
	add(unix.SockFilter{Code: unix.BPF_MISC | unix.BPF_TAX})
	add(unix.SockFilter{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_IND, K: unix.NLA_HDRLEN})
	for i, state := range states {
		add(unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(state), Jt: uint8(len(states) - i)})
	}
	end := len(program)
	add(unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: ^uint32(0)}, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0})
	for _, i := range passes {
		far := uint8(end - i - 1)
		if program[i].Jt != 0 {
			program[i].Jt = far
		} else {
			program[i].Jf = far
		}
	}
	return program
}
