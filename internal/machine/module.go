package machine

import (
	"bufio"
	"path"
	"strings"
)

// Presence is whether the kernel has what a module brings.
type Presence uint8

// Values of Presence.
const (
	Untold   Presence = iota // it is not loaded, and whether it can be is not known
	Present                  // loaded, or built in
	Loadable                 // the kernel loads it when it is asked for
	Absent
)

// Module returns whether the kernel has a module, or was built with it, which the name of one of its functions tells.
func (m *Machine) Module(name, function string) Presence {
	if m.Has(path.Join("sys/module", name)) || m.contains("proc/kallsyms", func(line string) bool {
		fields := strings.Fields(line) // address, type, name, and the module in brackets
		return len(fields) > 2 && fields[2] == function
	}) {
		return Present
	}
	dir := path.Join("lib/modules", m.Release())
	listed := func(line string) bool {
		file, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		base, _, _ := strings.Cut(path.Base(file), ".ko") // also .ko.xz, .ko.zst
		return base == name
	}
	switch list := path.Join(dir, "modules.dep"); {
	case m.Release() == "" || !m.Has(list):
		return Untold
	case m.contains(path.Join(dir, "modules.builtin"), listed):
		return Present
	case m.contains(list, listed):
		return Loadable
	}
	return Absent
}

// contains reports whether a file can be read and has such a line.
func (m *Machine) contains(name string, is func(line string) bool) bool {
	file, err := m.Root.Open(name)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }() // it was only read
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadString('\n')
		if is(line) {
			return true
		}
		if err != nil {
			return false // at the end, which is io.EOF, or where it cannot be read further
		}
	}
}

// NeedsModule looks at whether the kernel has a module, see [Machine.Module], which brings something.
func (m *Machine) NeedsModule(p *Part, name, function, brings string) Presence {
	is := m.Module(name, function)
	switch subject := "module"; is {
	case Present:
		p.OK(subject, "%s is there: %s", name, brings)
	case Loadable:
		p.OK(subject, "%s is not loaded; the kernel loads it when it is asked for %s", name, brings)
	case Absent:
		p.Missing(subject, "", "the kernel has no %s, which brings %s: install the package with the modules of Linux %s that has it", name, brings, m.Release())
	default:
		p.Unknown(subject, "modprobe "+name, "%s, which brings %s, is not loaded, and whether it can be is not known: no list of modules here", name, brings)
	}
	return is
}
