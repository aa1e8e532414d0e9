package syslog

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// address is where a collector listens, and how it is spoken to.
type address struct {
	scheme string // udp, tcp, tls, relp, relps, unixgram
	host   string // without brackets
	target string // host:port, or the path of a socket
}

func (a address) String() string { return a.scheme + "://" + strings.ReplaceAll(a.target, "%", "%25") }

// connected reports whether the peer can end a connection.
func (a address) connected() bool { return a.scheme != "udp" && a.scheme != "unixgram" }

func (a address) encrypted() bool { return a.scheme == "tls" || a.scheme == "relps" }

// Ports that are registered for syslog (RFC 5426, RFC 5425). TCP and RELP have none that collectors agree on.
var defaultPorts = map[string]string{"udp": "514", "tls": "6514", "tcp": "", "relp": "", "relps": ""}

func parseAddress(text string) (address, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return address{}, fmt.Errorf("%q has no scheme: want for example \"tls://%s\"", text, text)
	}
	if scheme == "unixgram" {
		if !strings.HasPrefix(rest, "/") {
			return address{}, fmt.Errorf("%q: want the path of a socket, such as unixgram:///dev/log", text)
		}
		if len(rest) > 107 {
			return address{}, fmt.Errorf("%q: the path of a socket has at most 107 bytes", text)
		}
		return address{scheme: scheme, target: rest}, nil
	}
	port, ok := defaultPorts[scheme]
	if !ok {
		return address{}, fmt.Errorf("%q: unknown scheme %q; known are udp, tcp, tls, relp, relps, unixgram", text, scheme)
	}
	u, err := url.Parse(withZone(text))
	switch {
	case err != nil:
		return address{}, fmt.Errorf("%q is not a URL: %w", text, err)
	case u.Hostname() == "":
		return address{}, fmt.Errorf("%q names no host", text)
	case !validHost(u):
		return address{}, fmt.Errorf("%q: want a host name in ASCII, an IPv4 address, or an IPv6 address in brackets", text)
	case scoped(u.Hostname()):
		return address{}, fmt.Errorf("%q: a link-local address is one of an interface: name it, such as %s%%eth0", text, u.Hostname())
	case u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return address{}, fmt.Errorf("%q: want nothing but scheme://host:port", text)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	if port == "" {
		return address{}, fmt.Errorf("%q: name the port; collectors do not agree on one for %s", text, scheme)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return address{}, fmt.Errorf("%q: want a port from 1 to 65535", text)
	}
	return address{scheme: scheme, host: u.Hostname(), target: net.JoinHostPort(u.Hostname(), port)}, nil
}

// zonePattern is an IPv6 address with an interface behind it.
var zonePattern = regexp.MustCompile(`\[([0-9A-Fa-f:.]+)%([^\]]+)\]`)

// withZone writes the interface of an IPv6 address as a URL wants it (RFC 6874), fe80::1%25eth0. People write fe80::1%eth0.
func withZone(text string) string {
	m := zonePattern.FindStringSubmatchIndex(text)
	if m == nil || strings.HasPrefix(text[m[4]:], "25") && m[5]-m[4] > len("25") {
		return text
	}
	return text[:m[4]] + "25" + text[m[4]:]
}

// scoped reports whether a host is an address that means nothing without an interface, and has none.
func scoped(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Is6() && a.Zone() == "" && (a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast())
}

// validHost reports whether the host of a URL is a name or an address.
func validHost(u *url.URL) bool {
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		a, err := netip.ParseAddr(host)
		return err == nil && a.Is6()
	}
	return !strings.ContainsFunc(host, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_'
	})
}
