package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/spelling"
)

// checkAccess records what is wrong with who may ask the listener of [service].
func checkAccess(s *Section, c *Service) {
	more := []string{"metrics_hosts", "metrics_token", "metrics_token_file", "page"}
	if c.Metrics == "" {
		for _, key := range more {
			if s.Has(key) {
				s.Warnf(key, "means nothing here: service.metrics is empty, so nothing listens")
			}
		}
		return
	}
	if _, port, _ := net.SplitHostPort(c.Metrics); strings.Trim(port, "0") == "" {
		s.Warnf("metrics", "port 0 is a free port that the kernel chooses at each start: only the log tells which")
	}
	for i, host := range c.Hosts {
		if !isHostname(host) || strings.ContainsAny(host, ":/[]") {
			s.Errorf(keypath.Element("metrics_hosts", i), "must be a host name without a port, not %q", spelling.Shorten(host))
		}
	}
	if c.Page != nil && *c.Page && !c.pageIsGuarded() {
		s.Errorf("page", "%s is reached from other hosts, and anybody there could see the page: set metrics_token_file, or listen on 127.0.0.1", c.Metrics)
	}
	switch {
	case c.AuthToken != "" && c.TokenFile != "":
		s.Errorf("metrics_token_file", "there is metrics_token already: one of them is enough")
	case c.TokenFile != "":
		c.checkTokenFile(s)
	case c.AuthToken != "" && !isToken(c.AuthToken):
		s.Errorf("metrics_token", "must be visible ASCII characters")
	case c.AuthToken == "" && !isLoopback(c.Metrics):
		s.Warnf("metrics", "%s is reached from other hosts, and anybody there may read status and metrics: set metrics_token_file, or listen on 127.0.0.1", c.Metrics)
	}
}

// ServesPage reports whether the listener serves the page.
func (c *Service) ServesPage() bool {
	if c.Page != nil && !*c.Page {
		return false
	}
	return c.Metrics != "" && c.pageIsGuarded()
}

// pageIsGuarded reports whether not everybody who reaches the host may see the page: what it shows says who talks to whom.
func (c *Service) pageIsGuarded() bool {
	return c.AuthToken != "" || c.TokenFile != "" || isLoopback(c.Metrics)
}

func (c *Service) checkTokenFile(s *Section) {
	_, err := c.Token()
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		s.Warnf("metrics_token_file", "%v; the daemon must be able to read it when it starts", reason(err))
	default:
		s.Errorf("metrics_token_file", "%v", err)
	}
}

// Token returns the token that requests bring, read from its file if there is one; "" is none.
func (c *Service) Token() (string, error) {
	if c.TokenFile == "" {
		return c.AuthToken, nil
	}
	text, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", err
	}
	token := strings.TrimRight(string(text), "\r\n")
	if !isToken(token) {
		return "", fmt.Errorf("%s holds no token: one line of visible ASCII characters", c.TokenFile)
	}
	return token, nil
}

// HostNames returns the host names that requests may name, besides localhost.
func (c *Service) HostNames() []string {
	names := append([]string(nil), c.Hosts...)
	if host, _, err := net.SplitHostPort(c.Metrics); err == nil && host != "" {
		names = append(names, host)
	}
	return names
}

// isToken reports whether a text can stand in a header.
func isToken(token string) bool {
	for i := range len(token) {
		if token[i] < '!' || token[i] > '~' {
			return false
		}
	}
	return token != ""
}

// isLoopback reports whether an address to listen on is reached from this host only.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
