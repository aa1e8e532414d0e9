package capture

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/rtflow/pipelined/core/packet"
)

// ng reads a pcapng.
type ng struct {
	guard  blocks
	r      *pcapgo.NgReader
	cfg    *Config
	ports  []port // interfaces of the section, as far as packets have named them
	read   uint64 // packets handed out
	others uint64 // packets of other link types

	foreign error // names the first link type that is not read: what is wrong with a capture that has no other packets
}

// port is what there is to know about an interface of the capture.
type port struct {
	index uint32
	link  packet.Link
	read  bool // its link type is read
}

func newNG(br *bufio.Reader, cfg *Config) (*ng, error) {
	n := &ng{guard: blocks{br: br}, cfg: cfg}
	r, err := pcapgo.NewNgReader(&n.guard, pcapgo.NgReaderOptions{
		WantMixedLinkType:  true,
		SectionEndCallback: func([]pcapgo.NgInterface, pcapgo.NgSectionInfo) { n.ports = n.ports[:0] },
	})
	if err != nil {
		return nil, n.cause(err)
	}
	n.r = r
	return n, nil
}

func (n *ng) next(rec *record) error {
	for {
		data, info, err := n.r.ZeroCopyReadPacketData()
		if err != nil {
			if err = n.cause(err); errors.Is(err, io.EOF) && n.read == 0 && n.others > 0 {
				return n.foreign
			}
			return err
		}
		for len(n.ports) <= info.InterfaceIndex {
			if err := n.describe(len(n.ports)); err != nil {
				return err
			}
		}
		p := n.ports[info.InterfaceIndex]
		if !p.read {
			n.others++
			continue
		}
		n.read++
		*rec = record{
			data: data,
			// A packet may claim to have been shorter on the wire than what was captured of it; it was not.
			wire:  max(info.Length, len(data)),
			stamp: stamp(info.Timestamp),
			port:  p.index,
			link:  p.link,
		}
		return nil
	}
}

// describe appends the interface of that number to ports.
func (n *ng) describe(i int) error {
	intf, err := n.r.Interface(i)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	// The finest units that pcapgo's whole-number arithmetic turns into nanoseconds without error.
	base, finest := 10, uint8(19)
	res := intf.TimestampResolution
	if res.Binary() {
		base, finest = 2, 9
	}
	if res.Exponent() > finest {
		return fmt.Errorf("interface %d (%q) stamps its packets in units of %d^-%d seconds, which is not supported",
			i, intf.Name, base, res.Exponent())
	}
	link, err := linkOf(intf.LinkType, intf.Name)
	if err != nil && n.foreign == nil {
		n.foreign = err
	}
	n.ports = append(n.ports, port{index: n.cfg.port(intf.Name), link: link, read: err == nil})
	return nil
}

// cause returns the error that ended reading: what the guard found, because pcapgo turns io.ErrUnexpectedEOF at the start
// of a block into io.EOF, or what pcapgo says of a block whose lengths were right.
func (n *ng) cause(err error) error {
	if n.guard.err != nil {
		return n.guard.err
	}
	if errors.Is(err, io.EOF) {
		return errCutOff
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

func (n *ng) offset() int64     { return n.guard.at }
func (n *ng) otherLink() uint64 { return n.others }
