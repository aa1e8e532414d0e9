package xdp

import (
	"errors"
	"strings"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/xsk"
)

// Examine finds out whether AF_XDP can be used on the machine, and on these interfaces.
func Examine(m *machine.Machine, interfaces ...string) []machine.Finding {
	if len(interfaces) == 0 {
		return examineMachine(m, Config{Device: xsk.Config{BPFFS: xsk.DefaultBPFFS}}, nil, false)
	}
	var findings []machine.Finding
	for _, name := range interfaces {
		findings = append(findings, examine(m, Config{Device: xsk.Config{Interface: name, BPFFS: xsk.DefaultBPFFS}}, false)...)
	}
	return findings
}

// examine finds out whether a source could read its interface. needed says that a configuration has the source.
func examine(m *machine.Machine, c Config, needed bool) []machine.Finding {
	name := c.Device.Interface
	p := machine.LinkPart(name, needed)
	link := p.Link(name)
	if link == nil {
		return append(examineMachine(m, c, nil, needed), p.Findings...)
	}
	survey, err := xsk.Survey(link)
	if err != nil {
		p.Unknown("driver", "ethtool -i "+machine.Shell(name), "it cannot be asked: %v", err)
		return append(examineMachine(m, c, nil, needed), p.Findings...)
	}
	survey.Report(p, c.Device)
	_, err = checkUse(&c)
	switch use, inUse := errors.AsType[*InUseError](err); {
	case inUse:
		p.Lacks("use", "", "AF_XDP would take its packets away from this host: %s. afpacket takes none; take_traffic = true is for those who mean it", strings.Join(use.Uses, "; "))
	case errors.Is(err, ErrNotEthernet):
		p.Lacks("use", "", "AF_XDP cannot be used: %v; afpacket reads them", ErrNotEthernet)
	case err != nil && !errors.Is(err, ErrMTU): // which the survey has reported
		p.Unknown("use", "", "what this host needs it for is not known: %v", err)
	case c.TakeTraffic:
		p.OK("use", "take_traffic = true: what this host needs it for is not looked at")
	default:
		p.OK("use", "this host does not need its packets")
	}
	return append(examineMachine(m, c, survey, needed), p.Findings...)
}

// examineMachine looks at what AF_XDP needs of the machine, and of a survey, if there is one, for how much memory.
func examineMachine(m *machine.Machine, c Config, survey *xsk.Surveyed, needed bool) []machine.Finding {
	device := c.Device
	p := &machine.Part{Name: "AF_XDP", Needed: needed}
	m.Kernel(p, xsk.KernelMajor, xsk.KernelMinor)
	m.Protocol(p, "XDP", "AF_XDP sockets (CONFIG_XDP_SOCKETS)")
	m.Permission(p, xsk.Capabilities()...)
	if c.Flows > 0 || !needed {
		m.Helpful(p, "offload", machine.Perfmon, xsk.Capabilities(), "without it no session is offloaded: all packets go through user space")
	}
	const compiler = "net.core.bpf_jit_enable"
	switch value, err := m.Setting(compiler); {
	case err == nil && value == 0:
		p.Warn("BPF compiler", machine.Sysctl(compiler, 1), "%s is 0: the XDP program is interpreted, which is slow", compiler)
	case err == nil:
		p.OK("BPF compiler", "on")
	default: // kernels that always compile have the setting, too, but not in every network namespace
		p.Unknown("BPF compiler", "sysctl "+compiler, "%s cannot be read: %v", compiler, err)
	}
	if m.Has("sys/kernel/btf/vmlinux") {
		p.OK("BTF", "the kernel has its types")
	} else {
		p.OK("BTF", "the kernel does not tell its types; this program does not need them")
	}
	if device.BPFFS != "" {
		xsk.ReportPins(p, device.BPFFS, device.Bridge)
	}
	queues, frameSize := 1, device.FrameSize
	if survey != nil {
		queues, frameSize = survey.Queues, survey.FrameSize(device)
	}
	examineLockedMemory(m, p, device, queues, max(frameSize, xsk.FrameSizeFor(0)))
	return p.Findings
}

// examineLockedMemory looks at whether the packet buffers may be locked in memory.
func examineLockedMemory(m *machine.Machine, p *machine.Part, device xsk.Config, queues, frameSize int) {
	const subject = "locked memory"
	frames := device.Frames
	if frames == 0 {
		frames = xsk.DefaultFrames
	}
	if device.Bridge {
		frames *= 2 // as many to send from
	}
	need := int64(queues) * int64(frames) * int64(frameSize)
	caps, capsErr := m.Capabilities()
	limit, err := m.LockedMemory()
	switch {
	case capsErr == nil && caps.Has(machine.IPCLock):
		p.OK(subject, "no limit: this process has CAP_IPC_LOCK")
	case err != nil:
		p.Unknown(subject, "ulimit -l", "its limit is not known: %v; %d KiB are needed for packet buffers", err, need>>10)
	case limit < 0:
		p.OK(subject, "no limit")
	case limit < need:
		p.Missing(subject, "ulimit -l unlimited", "the limit is %d KiB, and packet buffers take %d KiB: %d queues of %d frames (LimitMEMLOCK= of a systemd unit)",
			limit>>10, need>>10, queues, frames)
	default:
		p.OK(subject, "%d KiB; packet buffers take %d KiB", limit>>10, need>>10)
	}
}
