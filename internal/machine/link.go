package machine

import (
	"errors"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/spelling"
)

const linkPrefix = "interface "

// LinkPart returns the part of an interface.
func LinkPart(name string, needed bool) *Part { return &Part{Name: linkPrefix + name, Needed: needed} }

// IsLinkPart reports whether a part of that name is an interface.
func IsLinkPart(part string) bool { return strings.HasPrefix(part, linkPrefix) }

// OptionalLink is [Part.Link] for an interface that need not be there.
func (p *Part) OptionalLink(name string) {
	if _, err := netlink.LinkByName(name); errors.As(err, &netlink.LinkNotFoundError{}) {
		p.OK("link", "it is not there, and is read when it appears")
		return
	}
	p.Link(name)
}

// Link looks at whether an interface is there and up, and returns it, nil if it is not there. It looks in the network namespace of
// the calling thread.
func (p *Part) Link(name string) netlink.Link {
	link, err := netlink.LinkByName(name)
	switch missing := (netlink.LinkNotFoundError{}); {
	case errors.As(err, &missing):
		p.Missing("link", "ip link", "there is no interface %s in this network namespace", spelling.Quote(name))
		return nil
	case err != nil:
		p.Unknown("link", "ip link", "the interface cannot be looked up: %v", err)
		return nil
	}
	switch flags := link.Attrs().RawFlags; {
	case flags&unix.IFF_UP == 0:
		p.Warn("link", "ip link set dev "+Shell(link.Attrs().Name)+" up", "it is down: no packet arrives")
	case flags&unix.IFF_LOWER_UP == 0:
		p.Warn("link", "", "it has no carrier: no packet arrives")
	default:
		p.OK("link", "%s, up", link.Type())
	}
	return link
}
