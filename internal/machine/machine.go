package machine

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// Machine is the machine whose files are below Root, as the calling thread and its network namespace see it.
type Machine struct {
	Root fs.FS // as "/"
}

// This returns the machine that the program runs on.
func This() *Machine { return &Machine{Root: os.DirFS("/")} }

// text returns what a file holds, without blanks around it.
func (m *Machine) text(name string) (string, error) {
	b, err := fs.ReadFile(m.Root, name)
	var failed *fs.PathError
	if errors.As(err, &failed) && !path.IsAbs(failed.Path) {
		failed.Path = "/" + failed.Path // as people know it
	}
	return strings.TrimSpace(string(b)), err
}

// Has reports whether there is a file.
func (m *Machine) Has(name string) bool {
	_, err := fs.Stat(m.Root, name)
	return err == nil
}

// Setting returns a setting of the kernel, such as "net.core.rmem_max", that is a number. The error is [fs.ErrNotExist] if the kernel
// has none of that name, or none yet.
func (m *Machine) Setting(name string) (int, error) {
	value, err := m.text(path.Join("proc/sys", strings.ReplaceAll(name, ".", "/")))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(value)
}

// Sysctl returns the command that changes a setting.
func Sysctl(name string, value int) string { return fmt.Sprintf("sysctl -w %s=%d", name, value) }

// Release returns the release of the kernel, such as "6.1.0-18-amd64"; "" if it is not known.
func (m *Machine) Release() string {
	release, _ := m.text("proc/sys/kernel/osrelease") // "" says it all
	return release
}

// Kernel looks at whether the release of the kernel is the one from which on something is there, such as 5.9, or a later one.
func (m *Machine) Kernel(p *Part, major, minor int) {
	release := m.Release()
	var has, hasMinor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &has, &hasMinor); n != 2 {
		p.Unknown("kernel", "uname -r", "the release of the kernel is not known; %d.%d or newer is needed", major, minor)
		return
	}
	if has < major || has == major && hasMinor < minor {
		p.Missing("kernel", "", "Linux %s; %d.%d or newer is needed", release, major, minor)
		return
	}
	p.OK("kernel", "Linux %s; %d.%d or newer is needed", release, major, minor)
}

// Protocol looks at whether the kernel has a family of sockets: its name in /proc/net/protocols, and the option that brings it.
func (m *Machine) Protocol(p *Part, name, option string) {
	list, err := m.text("proc/thread-self/net/protocols")
	if err != nil {
		p.Unknown("sockets", "", "which families of sockets the kernel has is not known: %v", err)
		return
	}
	for line := range strings.Lines(list) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == name {
			p.OK("sockets", "the kernel has %s", option)
			return
		}
	}
	p.Missing("sockets", "", "the kernel was built without %s, or has not loaded it", option)
}

// ReceiveBuffer looks at whether a socket can have a receive buffer of so many bytes.
func (m *Machine) ReceiveBuffer(p *Part, bytes int) {
	const setting, subject = "net.core.rmem_max", "receive buffer"
	caps, capsErr := m.Capabilities()
	most, err := m.Setting(setting)
	switch {
	case capsErr == nil && caps.Has(NetAdmin) && !m.UserNamespace():
		p.OK(subject, "%d bytes, whatever %s says: CAP_NET_ADMIN sets it", bytes, setting)
	case err != nil:
		p.Unknown(subject, "sysctl "+setting, "%s cannot be read: %v", setting, err)
	case most < bytes:
		p.Warn(subject, Sysctl(setting, bytes), "%d bytes are wanted, and %s is %d", bytes, setting, most)
	default:
		p.OK(subject, "%d bytes; %s is %d", bytes, setting, most)
	}
}

// UserNamespace reports whether the process is in another user namespace than the first, where capabilities do less.
func (m *Machine) UserNamespace() bool {
	ids, err := m.text("proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(ids), " ") != "0 0 4294967295"
}

// LockedMemory returns how many bytes the process may lock. No limit is -1.
func (m *Machine) LockedMemory() (bytes int64, err error) {
	const name = "Max locked memory"
	limits, err := m.text("proc/self/limits")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(limits) {
		rest, found := strings.CutPrefix(line, name)
		fields := strings.Fields(rest)
		if !found || len(fields) == 0 {
			continue
		}
		if fields[0] == "unlimited" {
			return -1, nil
		}
		return strconv.ParseInt(fields[0], 10, 64)
	}
	return 0, errors.New("/proc/self/limits does not have it")
}

// unitNames are where systemd looks for the unit of the daemon, the first that exists, and what is added to it.
var unitNames = []string{"etc/systemd/system/pipelined.service", "usr/lib/systemd/system/pipelined.service", "lib/systemd/system/pipelined.service"}

// SettingsReadOnly says why a daemon cannot change settings of the kernel, as far as this process can see; "" if nothing is known to be
// in the way.
func (m *Machine) SettingsReadOnly() string {
	mounts, _ := m.text("proc/self/mountinfo") // the unit may tell all the same
	readOnly := make(map[string]bool)
	for line := range strings.Lines(mounts) {
		if fields := strings.Fields(line); len(fields) > 5 { // proc_pid_mountinfo(5): the mount point, its options
			readOnly[fields[4]] = strings.HasPrefix(fields[5]+",", "ro,") // a later mount covers an earlier one
		}
	}
	for _, mount := range []string{"/proc/sys/net", "/proc/sys", "/proc"} {
		if ro, mounted := readOnly[mount]; ro {
			return mount + " is mounted read-only here"
		} else if mounted {
			break
		}
	}
	for _, name := range unitNames {
		if unit, err := fs.ReadFile(m.Root, name); err == nil {
			return m.unitProtects(name, string(unit))
		}
	}
	return ""
}

// unitProtects says whether a unit of systemd and its drop-ins make the settings of the kernel read-only; "" if not.
func (m *Machine) unitProtects(name, text string) (reason string) {
	const option = "ProtectKernelTunables"
	look := func(name, text string) {
		lines := bufio.NewScanner(strings.NewReader(text))
		for lines.Scan() {
			key, value, _ := strings.Cut(lines.Text(), "=")
			if strings.TrimSpace(key) != option {
				continue
			}
			reason = ""
			switch strings.ToLower(strings.TrimSpace(value)) {
			case "yes", "true", "on", "1":
				reason = fmt.Sprintf("the unit has %s=%s (/%s)", option, strings.TrimSpace(value), name)
			}
		}
	}
	look(name, text)
	added, _ := fs.Glob(m.Root, "etc/systemd/system/pipelined.service.d/*.conf") // the pattern is right
	for _, name := range added {
		if text, err := fs.ReadFile(m.Root, name); err == nil {
			look(name, string(text))
		}
	}
	return reason
}
