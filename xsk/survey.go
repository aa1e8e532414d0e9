package xsk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/machine"
)

// Surveyed is what could be found out about an interface without opening it.
type Surveyed struct {
	Link
	loopback    bool
	driver      string // "" if it is not known
	program     uint32 // that is attached; 0 = none
	own         bool   // the program is one of this package
	features    uint64 // of XDP that its driver has
	featuresErr error
	offloads    map[string]bool
	offloadsErr error
	spread      spread
}

// Bits of the XDP features of a driver (linux/netdev.h).
const (
	xdpBasic     = 1 << 0
	xdpRedirect  = 1 << 1
	xdpTransmit  = 1 << 2 // what is redirected to it
	xdpZeroCopy  = 1 << 3
	xdpFragments = 1 << 5 // packets in several buffers
)

// Survey looks at an interface in the network namespace of the calling thread, and changes nothing.
func Survey(found netlink.Link) (*Surveyed, error) {
	tool, err := openEthtool()
	if err != nil {
		return nil, err
	}
	w := linkWatch{ethtool: tool}
	s := &Surveyed{Link: w.describe(found)}
	s.loopback = found.Attrs().EncapType == "loopback"
	s.driver = tool.driver(s.Name)
	s.offloads, s.offloadsErr = tool.features(s.Name)
	s.spread = tool.spread(s.Name)
	s.features, s.featuresErr = xdpFeatures(s.Index)
	if id, attached := attachedProgram(found); attached {
		s.program, s.own = id, isOwnProgram(id)
	}
	return s, tool.close()
}

// FrameSize returns the size of the packet buffers that [Open] would use.
func (s *Surveyed) FrameSize(c Config) int {
	size, _ := c.BuffersFor(s.MTU, false)
	return size
}

// Report adds what stands in the way of [Open], and what it would miss.
func (s *Surveyed) Report(p *machine.Part, c Config) {
	name := machine.Shell(s.Name)
	switch id := fmt.Sprint(s.program); {
	case s.program == 0:
		p.OK("XDP program", "none")
	case s.reportAttachment(p, c):
	case s.own:
		p.OK("XDP program", "program id %s is one of pipelined: a daemon reads the interface, and another one could not", id)
	default:
		p.Lacks("XDP program", "bpftool prog show id "+id, "%v: program id %s; its owner must be stopped, or: ip link set dev %s xdp off", ErrProgramAttached, id, name)
	}
	mode := s.reportMode(p, c)
	s.reportQueues(p)
	if s.offloadsErr != nil {
		p.Unknown("offloads", "ethtool -k "+name, "they are not known: %v", s.offloadsErr)
	} else if harmful := harmfulOffloads(s.offloads, mode, c.Bridge); len(harmful) > 0 {
		for _, offload := range harmful {
			p.Warn(offload.Short, fmt.Sprintf("ethtool -K %s %s off", name, offload.Short), "%s is on: with AF_XDP %s", offload.Feature, offload.Effect)
		}
	} else {
		p.OK("offloads", "none that spoils what AF_XDP sees")
	}
	s.reportMTU(p, c, mode, MultiBuffer())
}

// reportMTU tells whether the longest packets fit. multi is [MultiBuffer].
func (s *Surveyed) reportMTU(p *machine.Part, c Config, mode Mode, multi bool) {
	const subject = "MTU"
	size, several := c.BuffersFor(s.MTU, multi)
	one, most := MaxMTU(size), c.LargestMTU(multi)
	switch {
	case s.MTU > most && s.loopback && !c.Bridge:
		p.OK(subject, "%d, which says little about what is on it; AF_XDP buffers of %d bytes hold packets of an MTU up to %d", s.MTU, size, one)
	case s.MTU > most:
		why := ""
		if !multi {
			why = "; Linux 6.6 and newer spread longer packets over several"
		}
		p.Lacks(subject, fmt.Sprintf("ip link set dev %s mtu %d", machine.Shell(s.Name), most), "it is %d, and AF_XDP buffers of %d bytes hold packets of an MTU up to %d%s", s.MTU, size, most, why)
	case several && mode == Native && s.featuresErr == nil && s.features&xdpFragments == 0:
		p.Warn(subject, fmt.Sprintf("ip link set dev %s mtu %d", machine.Shell(s.Name), one),
			"%d; packets take several AF_XDP buffers of %d bytes, which the driver may refuse in native mode: up to %d they take one", s.MTU, size, one)
	case several:
		p.OK(subject, "%d; packets take several AF_XDP buffers of %d bytes", s.MTU, size)
	default:
		p.OK(subject, "%d; AF_XDP buffers of %d bytes hold packets of an MTU up to %d", s.MTU, size, one)
	}
}

// reportAttachment tells of the program of a bridge that is pinned for the interface, and reports whether there is one.
func (s *Surveyed) reportAttachment(p *machine.Part, c Config) bool {
	if c.BPFFS == "" {
		return false
	}
	list, err := Attachments(c.BPFFS, s.Name)
	if err != nil {
		return false // the machine's part tells of it
	}
	i := slices.IndexFunc(list, func(a *Attachment) bool { return a.Index == s.Index })
	if i < 0 {
		return false
	}
	const subject = "XDP program"
	name := machine.Shell(s.Name)
	does := "drops what nobody reads"
	if list[i].OnFailure == FailOpen {
		does = "sends what nobody reads to its peer"
	}
	switch a := list[i]; {
	case a.Err != nil:
		p.Lacks(subject, "pipelined detach --force "+name, "one is pinned that this version does not understand: %v", a.Err)
	case a.Bypass:
		p.Warn(subject, "pipelined bypass off "+name, "that of a bridge, which is bypassed by hand: every frame goes past")
	case a.Read:
		p.OK(subject, "that of a bridge, which a daemon reads: another one could not")
	case c.Bridge:
		p.OK(subject, "a former daemon has left it, and the next goes on with it; meanwhile it %s", does)
	default:
		p.Warn(subject, "pipelined detach "+name, "the daemon of a bridge has left it: it %s", does)
	}
	return true
}

// ReportPins tells whether the programs of bridges can outlive the daemon, and of what is left of interfaces that are gone. needed says
// that there is to be a bridge.
func ReportPins(p *machine.Part, bpffs string, needed bool) {
	const subject = "BPF file system"
	list, err := Attachments(bpffs)
	switch {
	case err == nil:
		p.OK(subject, "%s", bpffs)
	case !needed:
		p.OK(subject, "%v; only a bridge that is to outlive its daemon needs it", err)
	case errors.Is(err, ErrNoBPFFS):
		p.Warn(subject, "mount -t bpf bpf "+machine.Shell(bpffs), "%v: a bridge does not outlive its daemon, and nothing crosses then", err)
	default:
		p.Warn(subject, "", "%v: a bridge does not outlive its daemon, and nothing crosses then", err)
	}
	for _, a := range list {
		if a.Interface == "" {
			p.Warn("pins", "pipelined detach", "%s is left of an interface that is gone", a.Pinned)
			return
		}
	}
}

// reportMode tells of the driver, and returns the mode in which the program would run.
func (s *Surveyed) reportMode(p *machine.Part, c Config) Mode {
	driver := s.driver
	if driver == "" {
		driver = "the driver, whose name is not known,"
	}
	const need = xdpBasic | xdpRedirect
	switch {
	case c.Attach == Generic:
		p.OK("driver", "%s; generic mode is configured", driver)
		return Generic
	case s.featuresErr != nil:
		p.Unknown("driver", "", "whether %s has native XDP is not known: %v", driver, s.featuresErr)
		if c.Attach == Native {
			return Native
		}
		return Generic // what could do harm is told
	case s.features&need != need && c.Attach == Native:
		p.Lacks("driver", "", `%s has no native XDP, which attach = "native" wants`, driver)
		return Native
	case s.features&need != need:
		p.Warn("driver", "", "%s has no native XDP: AF_XDP runs in generic mode, which is slow", driver)
		return Generic
	case s.features&xdpZeroCopy == 0:
		p.OK("driver", "%s has native XDP, without zero-copy", driver)
	default:
		p.OK("driver", "%s has native XDP with zero-copy", driver)
	}
	return Native
}

// reportQueues tells whether both directions of a flow come from the same queue.
func (s *Surveyed) reportQueues(p *machine.Part) {
	name := machine.Shell(s.Name)
	switch {
	case s.Queues == 1:
		p.OK("queues", "1")
	case s.spread.err != nil:
		p.Unknown("queues", "ethtool -x "+name, "%d, and whether both directions of a flow come from the same one is not known: %v", s.Queues, s.spread.err)
	case s.spread.symmetric:
		p.OK("queues", "%d; their hash is symmetric", s.Queues)
	default:
		p.Warn("queues", fmt.Sprintf("ethtool -L %s combined 1", name),
			"%d, and their hash is not symmetric: the two directions of a flow come from different queues, and are two sessions", s.Queues)
	}
}

// driver returns the name of the driver, "" if it does not tell.
func (e *ethtool) driver(name string) string {
	info := unix.EthtoolDrvinfo{Cmd: unix.ETHTOOL_GDRVINFO}
	if err := e.ask(name, unsafe.Pointer(&info)); err != nil {
		return ""
	}
	driver, _, _ := strings.Cut(string(info.Driver[:]), "\x00")
	return driver
}

// spread is how a driver spreads packets over its queues.
type spread struct {
	symmetric bool
	err       error // it is not known
}

// spread asks for the hash (ETHTOOL_GRSSH).
func (e *ethtool) spread(name string) spread {
	const (
		maxConfig = 16 << 10
		toeplitz  = 1 << 0 // ETH_RSS_HASH_TOP
	)
	type hash struct {
		command, context, indirections, key uint32
		function, transformation            uint8
		_                                   [6]byte
		config                              [maxConfig]byte // the indirection table, and the key
	}
	sizes := hash{command: unix.ETHTOOL_GRSSH}
	if err := e.ask(name, unsafe.Pointer(&sizes)); err != nil {
		return spread{err: fmt.Errorf("ask for the hash: %w", err)}
	}
	start := uint64(sizes.indirections) * 4
	if start+uint64(sizes.key) > maxConfig {
		return spread{err: errors.New("the hash has a larger table than this program reads")}
	}
	h := hash{command: unix.ETHTOOL_GRSSH, indirections: sizes.indirections, key: sizes.key}
	if err := e.ask(name, unsafe.Pointer(&h)); err != nil {
		return spread{err: fmt.Errorf("ask for the hash: %w", err)}
	}
	if h.function != toeplitz {
		return spread{err: errors.New("the driver uses a hash that this program does not know, or does not say which")}
	}
	return spread{symmetric: isSymmetric(h.transformation, h.config[start:start+uint64(h.key)])}
}

// isSymmetric reports whether the Toeplitz hash is the same for both directions of a flow: the driver joins what belongs to the two
// ends before (RXH_XFRM_SYM_XOR, RXH_XFRM_SYM_OR_XOR), or the key repeats every 16 bits.
func isSymmetric(transformation uint8, key []byte) bool {
	if transformation&3 != 0 {
		return true
	}
	for i := 2; i < len(key); i++ {
		if key[i] != key[i-2] {
			return false
		}
	}
	return len(key) > 2
}

// xdpFeatures asks the generic netlink family "netdev", which Linux 6.3 has, for the XDP features of a driver.
func xdpFeatures(index int) (uint64, error) {
	const (
		commandGet   = 1 // NETDEV_CMD_DEV_GET
		attrIndex    = 1 // NETDEV_A_DEV_IFINDEX
		attrFeatures = 3 // NETDEV_A_DEV_XDP_FEATURES
	)
	family, err := netlink.GenlFamilyGet("netdev")
	if err != nil {
		return 0, fmt.Errorf("Linux 6.3 or newer tells it: %w", err)
	}
	request := nl.NewNetlinkRequest(int(family.ID), 0)
	// Raw, since nl.Genlmsg leaves the reserved bytes to chance, and the kernel refuses them.
	header := []byte{commandGet, 1, 0, 0}
	request.AddRawData(append(header, nl.NewRtAttr(attrIndex, nl.Uint32Attr(uint32(index))).Serialize()...))
	answers, err := request.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return 0, fmt.Errorf("ask for the XDP features: %w", err)
	}
	for _, answer := range answers {
		if len(answer) < nl.SizeofGenlmsg {
			continue
		}
		attrs, err := nl.ParseRouteAttr(answer[nl.SizeofGenlmsg:])
		if err != nil {
			return 0, fmt.Errorf("ask for the XDP features: %w", err)
		}
		for _, a := range attrs {
			if a.Attr.Type == attrFeatures && len(a.Value) == 8 {
				return binary.NativeEndian.Uint64(a.Value), nil
			}
		}
	}
	return 0, errors.New("the kernel does not say which XDP features the driver has")
}

// hasNative reports whether the driver of an interface says that it has native XDP.
func hasNative(index int) bool {
	features, err := xdpFeatures(index)
	return err == nil && features&(xdpBasic|xdpRedirect) == xdpBasic|xdpRedirect
}

// isOwnProgram reports whether an XDP program has the name of the one of this package, as far as the process may know.
func isOwnProgram(id uint32) bool {
	spec, err := loadTap()
	if err != nil {
		return false
	}
	attached, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if err != nil {
		return false
	}
	defer func() { _ = attached.Close() }()
	info, err := attached.Info()
	return err == nil && info.Type == ebpf.XDP && info.Name == spec.Programs["tap"].Name
}
