package xdp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/rtflow/pipelined/internal/monotonic"
	"github.com/rtflow/pipelined/internal/namespace"
	"github.com/rtflow/pipelined/xsk"
)

// Config says what to read.
type Config struct {
	Device xsk.Config
	// TakeTraffic opens an interface also if this host needs its packets: see [InUseError].
	TakeTraffic bool
	// LinkPropagation takes the interface of a bridge's peer down while this one has no carrier.
	LinkPropagation bool
	// ID is the interface of every frame ([packet.Frame.Interface]). 0 stands for the kernel's index of the interface,
	// which is another one when the interface has been deleted and made again.
	ID uint32
	// Flows is how many flows the XDP program may carry by itself, see [xsk.Flows]; 0 = none. Where [xsk.MayOffload] says no, it carries
	// none, which is a note in the [State].
	Flows int
	// Warn is told, from a goroutine of the source, what an operator should know when it happens: a message and pairs of
	// key and value. May be nil.
	Warn func(msg string, args ...any)
}

const (
	bypassPeriod = time.Second // how often it is looked whether the bypass is on

	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second // the delay doubles up to here
)

// Source is an open source. Its methods are safe for concurrent use.
type Source struct {
	config    Config
	clock     monotonic.Clock
	namespace *namespace.Namespace
	queues    []*Queue
	flows     *xsk.Flows                    // nil: none
	sending   atomic.Pointer[[]*xsk.Socket] // of device: what a peer sends by; nil while waiting
	stop      chan struct{}
	stopped   chan struct{}
	closing   sync.Once
	closeErr  error

	// Of the propagation of the link: for the goroutine that follows it, and for Close after that.
	carrier        carrier
	lookedForAlias bool
	declined       bool // nothing is to be taken down for the present loss
	heldIndex      int  // of the interface that is held down
	switchOff      func(netlink.Link) error
	propagated     atomic.Uint64

	mu      sync.Mutex
	peer    *Source        // the other source of a bridge
	tie     *tie           // with it
	holding bool           // its interface is held down
	device  *xsk.Interface // nil while waiting
	opened  string         // the name that the interface had when it was opened
	state   State
	past    Stats // of the devices before
}

// Open opens the interface, with the errors of [xsk.Open], an [*InUseError], [ErrNotEthernet] or [ErrMTU], and keeps it open, also
// if its MTU becomes too large. The
// interface is looked for in the network namespace of the calling thread, now and later. When ctx ends meanwhile, it returns the error of ctx.
func Open(ctx context.Context, config Config) (*Source, error) {
	if config.Warn == nil {
		config.Warn = func(string, ...any) {}
	}
	s := &Source{config: config, switchOff: netlink.LinkSetDown, stop: make(chan struct{}), stopped: make(chan struct{})}
	var err error
	if s.clock, err = monotonic.New(); err != nil {
		return nil, err
	}
	if config.Flows > 0 && xsk.MayOffload() {
		if s.flows, err = xsk.NewFlows(config.Flows, config.Device.Bridge); err != nil {
			return nil, fmt.Errorf("open %s for AF_XDP: %w", config.Device.Interface, err)
		}
		s.config.Device.Flows = s.flows
	}
	device, err := s.open(ctx, false)
	if err != nil {
		return nil, errors.Join(err, s.closeFlows())
	}
	if s.namespace, err = namespace.Current(); err != nil {
		return nil, errors.Join(err, device.Close(), s.closeFlows())
	}
	patience := time.Duration(0)
	if config.Device.OnFailure == xsk.FailOpen {
		patience = cmp.Or(config.Device.OnFailureAfter, xsk.DefaultOnFailureAfter) / 2
	}
	for i := range device.Queues() {
		s.queues = append(s.queues, &Queue{number: i, id: config.ID, clock: &s.clock, patience: patience})
	}
	if s.flows != nil {
		s.offload()
	}
	s.use(device)
	s.propagate(device.Link(), false) // it may have its carrier no more when the goroutine first looks
	go s.run(device)
	return s, nil
}

// open opens the interface, unless it is in use or, unless it was open before, its MTU is too large: packets that fit are better
// than none.
func (s *Source) open(ctx context.Context, again bool) (*xsk.Interface, error) {
	name := s.config.Device.Interface
	index, err := checkUse(&s.config)
	if again && errors.Is(err, ErrMTU) {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	device, err := xsk.Open(ctx, s.config.Device)
	if err != nil {
		return nil, err
	}
	if device.Link().Index != index {
		return nil, errors.Join(fmt.Errorf("another interface became %s while it was opened", name), device.Close())
	}
	return device, nil
}

// Queues returns the queues, each for one worker: as many as the interface had receive queues when the source was opened.
// If it has more later, a queue reads several of them.
func (s *Source) Queues() []*Queue { return slices.Clone(s.queues) }

// Close gives the interface back to the kernel. It waits until every worker has released its frames; Receive returns
// [io.EOF] from then on. Closing twice returns the same error twice.
func (s *Source) Close() error {
	s.closing.Do(func() {
		close(s.stop)
		<-s.stopped
		s.mu.Lock()
		peer, tie := s.peer, s.tie
		s.mu.Unlock()
		if tie != nil && tie.holder.Load() == s {
			s.letUp(peer, tie)
		}
		device := s.present()
		s.closeErr = s.retire(Closed, nil)
		if tie != nil {
			s.tellEnd(tie, device)
		}
		for _, q := range s.queues {
			q.attach(&attachment{ended: true})
		}
		s.closeErr = errors.Join(s.closeErr, s.namespace.Close(), s.closeFlows())
	})
	return s.closeErr
}

func (s *Source) closeFlows() error {
	if s.flows == nil {
		return nil
	}
	return s.flows.Close()
}

// run keeps the interface open until Close.
func (s *Source) run(device *xsk.Interface) {
	defer close(s.stopped)
	for first := true; device != nil; first = false {
		reason := s.supervise(device, first)
		if reason == nil {
			return
		}
		s.config.Warn("interface is closed and will be opened again", "interface", s.config.Device.Interface, "reason", reason)
		if err := s.retire(Waiting, reason); err != nil {
			s.config.Warn("closing the interface failed", "interface", s.config.Device.Interface, "error", err)
		}
		if errors.Is(reason, xsk.ErrInterfaceGone) {
			s.propagate(device.Link(), true)
		}
		s.carry()
		device = s.reopen()
	}
}

// supervise follows the link until the interface has to be opened again, and returns why; nil means Close. first says that it was
// opened for the first time: a program that is there is of another run.
func (s *Source) supervise(device *xsk.Interface, first bool) (reason error) {
	mtu := device.Link().MTU
	var look <-chan time.Time // at what no message tells of
	if s.config.Device.Bridge {
		ticker := time.NewTicker(bypassPeriod)
		defer ticker.Stop()
		look = ticker.C
	}
	told, bypassed := !first, false
	for {
		link := device.Link()
		if err := s.unusable(device, link); err != nil {
			return err
		}
		changed, renamed := s.follow(link)
		if renamed {
			s.config.Warn("interface has another name now", "interface", s.config.Device.Interface, "name", link.Name)
		}
		if changed {
			s.config.Warn("interface is "+string(condition(link)), "interface", link.Name)
		}
		s.propagate(link, false)
		if link.MTU != mtu && link.MTU > xsk.MaxMTU(device.FrameSize()) && !device.Several() {
			s.config.Warn("longest packets of the interface are dropped: its MTU was raised", "interface", link.Name,
				"mtu", link.MTU, "longest_packet", device.MaxPacket())
		}
		mtu = link.MTU
		s.carry()
		if now := device.Bypassed(); now != bypassed {
			bypassed = now
			s.tellBypass(link.Name, now)
		}
		if unread, ok := device.TakenOver(); ok && !told {
			told = true
			s.config.Warn("goes on with the XDP program that was left on the interface", "interface", link.Name,
				"went_past_meanwhile", unread.PastSent, "dropped_meanwhile", unread.Dropped+unread.PastNotSent)
		}
		select {
		case <-look:
			if err := device.Settle(); err != nil {
				s.config.Warn("what the peer has not taken is not known", "interface", link.Name, "error", err)
			}
		case <-device.Changed():
		case <-s.stop:
			return nil
		}
	}
}

func (s *Source) tellBypass(name string, on bool) {
	if on {
		s.config.Warn("bypass is on: every frame goes to the peer, and nobody judges it", "interface", name, "command", "pipelined bypass off "+name)
	} else {
		s.config.Warn("bypass is off: frames are judged again", "interface", name)
	}
}

// unusable says why an open device does not do for its link any more.
func (s *Source) unusable(device *xsk.Interface, link xsk.Link) error {
	if link.Gone {
		return fmt.Errorf("%s: %w", link.Name, xsk.ErrInterfaceGone)
	}
	if device.Detached() {
		return fmt.Errorf("%s: %w", link.Name, xsk.ErrDetached)
	}
	if have := len(device.Queues()); have != link.Queues {
		return fmt.Errorf("%s has %d receive queues now, and had %d", link.Name, link.Queues, have)
	}
	multi := xsk.MultiBuffer()
	size, several := s.config.Device.BuffersFor(link.MTU, multi)
	better := size > device.FrameSize() || several && !device.Several()
	if better && link.MTU <= s.config.Device.LargestMTU(multi) {
		return fmt.Errorf("%s has an MTU of %d now, which needs larger packet buffers, or several for a packet", link.Name, link.MTU)
	}
	return nil
}

// reopen opens the interface as soon as that works. It returns nil on Close.
func (s *Source) reopen() *xsk.Interface {
	for delay := firstRetry; ; delay = min(2*delay, lastRetry) {
		var device *xsk.Interface
		var err error
		if nsErr := s.namespace.Run(func() { device, err = s.open(context.Background(), true) }); nsErr != nil {
			err = errors.Join(err, nsErr)
		}
		if device != nil {
			s.use(device)
			s.config.Warn("interface is open again", "interface", s.config.Device.Interface, "mode", device.Mode().String())
			return device
		}
		if s.failed(err) {
			s.config.Warn("interface cannot be opened yet", "interface", s.config.Device.Interface, "error", err)
		}
		select {
		case <-time.After(delay):
		case <-s.stop:
			return nil
		}
	}
}

// use makes a device the present one and shares its sockets out to the queues.
func (s *Source) use(device *xsk.Interface) {
	link := device.Link()
	shares := make([]attachment, len(s.queues))
	for i, socket := range device.Queues() {
		share := &shares[i%len(shares)]
		share.sockets = append(share.sockets, socket)
	}
	for i, q := range s.queues {
		shares[i].device, shares[i].index = device, uint32(link.Index)
		q.attach(&shares[i])
	}
	if s.config.Device.Bridge {
		sockets := device.Queues()
		s.sending.Store(&sockets)
	}

	// Last: whoever reads that the interface is up can send by it.
	s.setDevice(device, link)
	s.connect()
}

func (s *Source) setDevice(device *xsk.Interface, link xsk.Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := s.state.Reopened
	if s.state.Condition != "" {
		again++
	}
	s.device, s.opened = device, link.Name
	s.state = State{
		Interface: s.config.Device.Interface,
		Condition: condition(link),
		Since:     time.Now(),
		Reopened:  again,
		Mode:      device.Mode().String(),
		ZeroCopy:  device.ZeroCopy(),
		Index:     link.Index,
		MTU:       link.MTU,
		FrameSize: device.FrameSize(),
		Several:   device.Several(),
		Queues:    len(device.Queues()),
		Pinned:    device.Pinned(),
	}
	if s.config.Device.Bridge {
		s.state.OnFailure = s.config.Device.OnFailure.String()
	}
}

// retire closes the present device, if there is one, and keeps its counters.
func (s *Source) retire(next Condition, reason error) error {
	s.mu.Lock()
	device := s.device
	s.mu.Unlock()
	s.sending.Store(nil)
	var err error
	if device != nil {
		err = device.Close() // waits for workers: not under the lock
	}
	if s.flows != nil {
		s.flows.HoldAll() // another device may be another network
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if device != nil {
		last, statsErr := deviceStats(device)
		err = errors.Join(err, statsErr)
		s.past = s.past.plus(last)
	}
	s.device = nil
	s.state.Condition, s.state.Since, s.state.Error = next, time.Now(), ""
	if reason != nil {
		s.state.Error = reason.Error()
	}
	return err
}

// follow keeps the state up to date with the link, and reports whether the condition and the name have changed.
func (s *Source) follow(link xsk.Link) (changed, renamed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.MTU = link.MTU
	name := ""
	if link.Name != s.opened {
		name = link.Name
	}
	renamed = s.state.Renamed != name
	s.state.Renamed = name
	if s.state.Condition == condition(link) {
		return false, renamed
	}
	s.state.Condition, s.state.Since = condition(link), time.Now()
	return true, renamed
}

// failed notes why an attempt failed, and reports whether it is another reason than last time.
func (s *Source) failed(err error) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Error == err.Error() {
		return false
	}
	s.state.Error = err.Error()
	return true
}

func condition(link xsk.Link) Condition {
	if link.Up {
		return Up
	}
	return Down
}
