package draft

import (
	"bytes"
	"embed"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"github.com/rtflow/pipelined/internal/survey"
)

// Draft is a configuration.
type Draft struct {
	Text string   // of pipeline.toml
	Saw  []string // what the machine is taken for, and what was seen of it; lines for people, which may hold any name
	Next []string // what to do to the machine first; commands and sentences
}

// Shape is what a machine is taken for.
type Shape string

// Shapes, which are the names of their templates.
const (
	Router  Shape = "router"  // it forwards: its kernel tells of sessions
	Forward Shape = "forward" // it forwards, and its kernel does not track connections
	Tap     Shape = "tap"     // a port that only listens
	HostOf  Shape = "host"    // it has addresses, and does not forward
	Capture Shape = "capture" // it has no network
)

//go:embed templates
var templates embed.FS

// most is how many interfaces a source for each is written for, and how many of each are listed for people.
const most = 8

// New returns a draft for a machine.
func New(host survey.Host) (Draft, error) {
	c := choose(host)
	files, err := template.New("").Funcs(template.FuncMap{
		"quote": quote, "list": list, "comment": comment, "describe": describe, "number": func(n int) int { return n + 1 },
	}).
		ParseFS(templates, "templates/*.tmpl")
	if err != nil {
		return Draft{}, fmt.Errorf("templates: %w", err)
	}
	var text bytes.Buffer
	if err := files.ExecuteTemplate(&text, string(c.Shape)+".tmpl", c); err != nil {
		return Draft{}, fmt.Errorf("write the configuration: %w", err)
	}
	return Draft{Text: strings.TrimRight(text.String(), "\n") + "\n", Saw: c.saw(), Next: c.next()}, nil
}

// choice is what was decided about a machine, for the templates.
type choice struct {
	survey.Host
	Shape    Shape
	Zones    []zone
	Outside  string             // zone in which attackers are, "" if it is not known
	Reads    []survey.Interface // by afpacket
	Groups   []int              // of NFLOG that a source reads
	Left     []string           // interfaces that were left out, and why
	Warnings []string           // about the whole
}

// choose decides what a machine is.
func choose(host survey.Host) *choice {
	c := &choice{Host: host}
	c.Interfaces = nil
	for _, i := range host.Interfaces {
		if !i.Loopback && !writable(i.Name) {
			c.leave(i, "its name cannot be written in a configuration")
			continue
		}
		c.Interfaces = append(c.Interfaces, i)
	}
	ends := c.with(isEnd)
	forwards := host.IPv4 || host.IPv6 || slices.ContainsFunc(host.Interfaces, func(i survey.Interface) bool { return i.Forwards })
	ports := c.with(isMirror)
	if slices.ContainsFunc(ends, isCard) {
		// Beside network cards a cable to a container, or an end of one that leads nowhere, is no mirror port.
		ports = slices.DeleteFunc(ports, func(i survey.Interface) bool { return i.Kind == "veth" })
	}
	switch {
	case forwards && len(ends) > 1:
		c.router(ends)
	case len(ports) > 0 && !forwards:
		c.tap(ports)
	case len(ends) > 0:
		c.hostOf(ends)
	default:
		c.Shape, c.Outside = Capture, "outside"
	}
	return c
}

// with returns the interfaces that are so.
func (c *choice) with(is func(survey.Interface) bool) (list []survey.Interface) {
	for _, i := range c.Interfaces {
		if is(i) {
			list = append(list, i)
		}
	}
	return list
}

// isEnd reports whether packets of the IP layer begin, end or turn at an interface.
func isEnd(i survey.Interface) bool {
	if i.Loopback || i.PortOf != "" || i.Kind == "dummy" || i.Kind == "vrf" {
		return false
	}
	return len(i.Addresses) > 0 || i.Default || i.Routes > 0 && !isGuest(i)
}

func isCard(i survey.Interface) bool { return i.Kind == "device" }

// isGuest reports whether an interface is the cable to a container: such come and go.
func isGuest(i survey.Interface) bool { return i.Kind == "veth" && len(i.Addresses) == 0 }

// isMirror reports whether an interface looks as if it only listened.
func isMirror(i survey.Interface) bool {
	switch i.Kind {
	case "device", "veth", "vlan", "bond", "erspan", "ip6erspan":
		return i.Up && i.Carrier && !i.Loopback && i.PortOf == "" && !i.Carries && len(i.Addresses) == 0 && !i.Default && i.Routes == 0
	}
	return false
}

// leave says that an interface is not in the configuration.
func (c *choice) leave(i survey.Interface, why string) {
	c.Left = append(c.Left, fmt.Sprintf("%s, %s", show(i.Name), why))
}

// LeftOut says which interfaces are not in the configuration, and why.
func (c *choice) LeftOut() []string { return few(c.Left, "") }

// warn adds what is to be looked at.
func (c *choice) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

// saw says what the machine is taken for, and what was seen of it.
func (c *choice) saw() (lines []string) {
	switch c.Shape {
	case Router:
		lines = append(lines, "a router: it forwards, and its kernel can tell of its sessions")
	case Forward:
		lines = append(lines, "a router whose kernel has no connection tracking: its packets are looked at")
	case Tap:
		lines = append(lines, "a mirror port or tap: an interface that is up, and that this host has no address on")
	case HostOf:
		lines = append(lines, "a host: it has addresses, and forwards nothing from one interface to another")
	case Capture:
		lines = append(lines, "no network: no interface but lo has an address or listens. The configuration reads a capture")
	}
	var interfaces []string
	for _, z := range c.Zones {
		for _, i := range z.Interfaces {
			interfaces = append(interfaces, fmt.Sprintf("%s: %s, zone %s", show(i.Name), describe(i), z.Name))
		}
	}
	if c.Shape == HostOf || c.Shape == Tap {
		for _, i := range c.Reads {
			interfaces = append(interfaces, show(i.Name)+": "+describe(i))
		}
	}
	lines = append(lines, few(interfaces, "interface ")...)
	if c.Shape == Router {
		lines = append(lines, c.kernel()...)
	}
	lines = append(lines, few(c.Left, "left out: ")...)
	for _, u := range c.Unseen {
		lines = append(lines, "not seen: "+u)
	}
	return lines
}

// few puts a prefix before lines, and leaves out those of a long list.
func few(lines []string, prefix string) (list []string) {
	for n, line := range lines {
		if n == most {
			return append(list, fmt.Sprintf("%sand %d more", prefix, len(lines)-most))
		}
		list = append(list, prefix+line)
	}
	return list
}
