package config

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rtflow/pipelined/internal/spelling"
)

// Node is [node].
type Node struct {
	Name string // HOSTNAME of every log line; default "": the caller puts the host's name there
}

// Service is [service].
type Service struct {
	Metrics string // host:port of /metrics, /healthz and /status, "" for none; default "127.0.0.1:9464"
	// Hosts are host names that requests may name, besides localhost, addresses, and the host of Metrics; default none.
	Hosts     []string
	AuthToken string // what requests bring as "Authorization: Bearer"; default "": nothing
	TokenFile string // a file that holds it instead

	Drain time.Duration // how long to deliver what is in flight at stop, at most MaxDrain; default 5 s

	PluginDir  string // where executables of sinks are found by name; default DefaultPluginDir
	RuntimeDir string // where the sockets of plugins live; default "": the caller finds a place
	State      string // where runs keep the account that they hand to each other; default "": the caller finds a place, or there is none
}

// DefaultPluginDir is where packages put executables of sinks.
const DefaultPluginDir = "/usr/lib/pipelined/plugins"

// MaxDrain is the longest Service.Drain. A service manager kills what stops too slowly: 90 seconds later with systemd.
const MaxDrain = 10 * time.Minute

func readNode(s *Section) (n Node) {
	if s == nil {
		return n
	}
	var t struct {
		Name *string `toml:"name"`
	}
	s.Decode(&t)
	if t.Name == nil {
		return n
	}
	if !isHostname(*t.Name) {
		s.Errorf("name", "must be 1 to %d visible ASCII characters, not %q", maxHostname, spelling.Shorten(*t.Name))
	}
	return Node{Name: *t.Name}
}

// maxHostname is the longest HOSTNAME (RFC 5424, section 6), in bytes.
const maxHostname = 255

// isHostname reports whether name is a HOSTNAME: PRINTUSASCII (RFC 5424, section 6).
func isHostname(name string) bool {
	for i := range len(name) {
		if name[i] < '!' || name[i] > '~' {
			return false
		}
	}
	return name != "" && len(name) <= maxHostname
}

func readService(s *Section) Service {
	t := struct {
		Metrics   string        `toml:"metrics"`
		Hosts     []string      `toml:"metrics_hosts"`
		AuthToken string        `toml:"metrics_token"`
		TokenFile string        `toml:"metrics_token_file"`
		Drain     time.Duration `toml:"drain"`

		PluginDir  string `toml:"plugin_dir"`
		RuntimeDir string `toml:"runtime_dir"`
		State      string `toml:"state"`
	}{Metrics: "127.0.0.1:9464", Drain: 5 * time.Second, PluginDir: DefaultPluginDir}
	if s != nil {
		s.Decode(&t)
		if why := checkAddress(t.Metrics); why != "" {
			s.Errorf("metrics", "%s", why)
		} else {
			checkAccess(s, (*Service)(&t))
		}
		if t.Drain < 0 || t.Drain > MaxDrain {
			s.Errorf("drain", "must be 0s to %s, not %s", span(MaxDrain), span(t.Drain))
		}
		if t.PluginDir != "" && !filepath.IsAbs(t.PluginDir) {
			s.Errorf("plugin_dir", "must be an absolute path, or \"\" for none, not %q", spelling.Shorten(t.PluginDir))
		}
		if t.State != "" && !filepath.IsAbs(t.State) {
			s.Errorf("state", "must be an absolute path, not %q", spelling.Shorten(t.State))
		}
		if why := checkRuntimeDir(t.RuntimeDir); why != "" {
			s.Errorf("runtime_dir", "%s", why)
		}
	}
	return Service(t)
}

// checkAddress says what is wrong with an address to listen on, "" if nothing is.
func checkAddress(address string) string {
	if address == "" {
		return ""
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return "must be host:port such as \"127.0.0.1:9464\", not " + spelling.Quote(address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "the port must be 0 to 65535, not " + spelling.Quote(port)
	}
	return ""
}

// maxRuntimeDir is the longest runtime directory, in bytes: the path of a Unix socket has at most 107 (unix(7)), and the
// names below the directory take up to 50.
const maxRuntimeDir = 57

// checkRuntimeDir says what is wrong with a directory for sockets, "" if nothing is.
func checkRuntimeDir(dir string) string {
	clean := filepath.Clean(dir)
	switch {
	case dir == "":
		return ""
	case !filepath.IsAbs(dir):
		return "must be an absolute path, not " + spelling.Quote(dir)
	case len(clean) > maxRuntimeDir:
		return "must be at most " + strconv.Itoa(maxRuntimeDir) + " bytes long: the path of a socket in it has to fit"
	}
	for _, shared := range []string{"/tmp", "/var/tmp", "/dev/shm"} {
		if clean == shared || strings.HasPrefix(clean, shared+"/") {
			return "must not be in " + shared + ": it is everybody's, and swept of old files"
		}
	}
	return ""
}
