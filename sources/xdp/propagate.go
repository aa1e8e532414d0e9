package xdp

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/xsk"
)

// settling is how long an interface that was just switched on, or opened, may take to have a carrier: two cards that agree on a speed
// take some seconds, and that is no loss.
const settling = 10 * time.Second

// carrier tells the loss of a carrier from its absence.
type carrier struct {
	had   bool      // since the interface was switched on
	since time.Time // when it was switched on; zero: it is off
}

// lost reports whether the interface has lost its carrier, or has none though it should by now. An interface that is switched off says
// nothing of its cable.
func (c *carrier) lost(link xsk.Link, now time.Time) bool {
	if !link.On {
		*c = carrier{}
		return false
	}
	if c.since.IsZero() {
		c.since = now
	}
	if link.Up {
		c.had = true
		return false
	}
	return c.had || now.Sub(c.since) > settling
}

// tie joins the two sources of a bridge.
type tie struct {
	// holder holds the other's interface down. At most one does: each of two that did would wait for the other for ever.
	holder atomic.Pointer[Source]
	// left is what the one that was closed first has left.
	left atomic.Pointer[leftBehind]
}

// aliasPrefix begins the alias of an interface that is held down, which ends with the name of the one whose carrier is awaited. The next
// run finds by it what one that was killed has left.
const aliasPrefix = "pipelined: down until there is a carrier on "

// propagate has the interface of the peer follow this one's carrier, gone being whether there is no such interface at the moment. It is
// called by the source's goroutine, now and then with nothing new.
func (s *Source) propagate(link xsk.Link, gone bool) {
	lost := s.carrier.lost(link, time.Now()) || gone
	s.mu.Lock()
	peer, tie := s.peer, s.tie
	s.mu.Unlock()
	if !s.config.LinkPropagation || peer == nil {
		return
	}
	if !s.lookedForAlias {
		s.lookedForAlias = true
		s.adopt(peer, tie)
	}
	holds := tie.holder.Load() == s
	if holds && s.heldIsGone(peer) {
		s.setHolding(false)
		tie.holder.Store(nil)
		holds = false
	}
	switch {
	case lost && !holds && !s.declined:
		s.takeDown(peer, tie)
	case holds && link.Up && !gone:
		s.letUp(peer, tie)
	case !lost:
		s.declined = false
	}
}

// adopt goes on holding what a former run has taken down for this interface.
func (s *Source) adopt(peer *Source, tie *tie) {
	err := s.withPeer(peer, func(link netlink.Link) error {
		if !switchedOn(link) && link.Attrs().Alias == s.alias() && tie.holder.CompareAndSwap(nil, s) {
			s.hold(link)
		}
		return nil
	})
	if err != nil {
		s.lookedForAlias = false // it is tried again
	}
}

// takeDown switches the peer's interface off, unless it is off: then it stays so.
func (s *Source) takeDown(peer *Source, tie *tie) {
	if !tie.holder.CompareAndSwap(nil, s) {
		return
	}
	name := peer.config.Device.Interface
	err := s.withPeer(peer, func(link netlink.Link) error {
		if !switchedOn(link) {
			s.declined = true
			tie.holder.Store(nil)
			return nil
		}
		if link.Attrs().Alias == "" {
			if err := netlink.LinkSetAlias(link, s.alias()); err != nil {
				return fmt.Errorf("mark %s: %w", name, err)
			}
		}
		if err := s.switchOff(link); err != nil {
			err = fmt.Errorf("switch %s off: %w", name, err)
			if link.Attrs().Alias == "" {
				err = errors.Join(err, netlink.LinkSetAlias(link, ""))
			}
			return err
		}
		s.hold(link)
		s.propagated.Add(1)
		s.config.Warn("no carrier: the interface of the peer is taken down until there is one", "interface", s.config.Device.Interface, "peer", name)
		return nil
	})
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		tie.holder.Store(nil) // it is taken down when it comes
		return
	}
	if err != nil {
		tie.holder.Store(nil)
		s.declined = true
		s.config.Warn("the loss of the carrier cannot be passed on", "interface", s.config.Device.Interface, "error", err)
	}
}

// letUp switches the peer's interface on again.
func (s *Source) letUp(peer *Source, tie *tie) {
	name := peer.config.Device.Interface
	err := s.withPeer(peer, func(link netlink.Link) error {
		if strings.HasPrefix(link.Attrs().Alias, aliasPrefix) {
			if err := netlink.LinkSetAlias(link, ""); err != nil {
				return fmt.Errorf("take the mark off %s: %w", name, err)
			}
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("switch %s on: %w", name, err)
		}
		return nil
	})
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); err != nil && !missing {
		if s.failed(err) {
			s.config.Warn("the interface of the peer cannot be switched on again", "interface", s.config.Device.Interface, "error", err)
		}
		return // it is tried again
	}
	s.setHolding(false)
	tie.holder.Store(nil)
	s.config.Warn("the interface of the peer is up again", "interface", s.config.Device.Interface, "peer", name)
}

// withPeer calls f with the peer's interface as it is now.
func (s *Source) withPeer(peer *Source, f func(netlink.Link) error) (err error) {
	nsErr := s.namespace.Run(func() {
		var link netlink.Link
		if link, err = netlink.LinkByName(peer.config.Device.Interface); err == nil {
			err = f(link)
		}
	})
	if nsErr != nil {
		return nsErr
	}
	return err
}

func (s *Source) alias() string { return aliasPrefix + s.config.Device.Interface }

// hold notes that an interface is held down.
func (s *Source) hold(link netlink.Link) {
	s.heldIndex = link.Attrs().Index
	s.setHolding(true)
}

// heldIsGone reports whether what was held down is there no more, or another interface has its name: of that nothing is held.
func (s *Source) heldIsGone(peer *Source) (gone bool) {
	err := s.withPeer(peer, func(link netlink.Link) error {
		gone = link.Attrs().Index != s.heldIndex
		return nil
	})
	_, missing := errors.AsType[netlink.LinkNotFoundError](err)
	return gone || missing
}

func (s *Source) setHolding(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holding = on
}

func switchedOn(link netlink.Link) bool { return link.Attrs().RawFlags&unix.IFF_UP != 0 }
