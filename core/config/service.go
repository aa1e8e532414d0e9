package config

import (
	"net"
	"os/user"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/table"
	"github.com/rtflow/pipelined/internal/unixsocket"
	"github.com/rtflow/pipelined/internal/values"
)

// Node is [node].
type Node struct {
	Name string `toml:"name"` // HOSTNAME of every log line; default "": the caller puts the host's name there
}

// Service is [service].
type Service struct {
	Metrics string `toml:"metrics"` // host:port of /metrics, /healthz and /status, "" for none; default "127.0.0.1:9464"
	// Hosts are host names that requests may name, besides localhost, addresses, and the host of Metrics; default none.
	Hosts     []string `toml:"metrics_hosts"`
	AuthToken string   `toml:"metrics_token"`      // what requests bring as "Authorization: Bearer"; default "": nothing
	TokenFile string   `toml:"metrics_token_file"` // a file that holds it instead
	// Page says whether the listener serves the page as well; default nil: where it is reached from this host only, or asks for a token.
	Page *bool `toml:"page"`

	// Control is the path of the control socket, "" for none; default nil: the caller finds a place, or there is none.
	Control      *string      `toml:"control"`
	ControlGroup string       `toml:"control_group"` // name or number of the group of that socket; default "": the daemon's
	ControlMode  *values.Mode `toml:"control_mode"`  // permissions of that socket; default nil: the caller's choice

	// Watch has the configuration read again when its files change.
	Watch bool          `toml:"watch"`
	Drain time.Duration `toml:"drain"` // how long to deliver what is in flight at stop, at most MaxDrain; default 5 s

	PluginDir  string `toml:"plugin_dir"`  // where executables of sinks are found by name; default DefaultPluginDir
	RuntimeDir string `toml:"runtime_dir"` // where the sockets of plugins live; default "": the caller finds a place
	// State is where runs keep the account that they hand to each other; default "": the caller finds a place, or there is none.
	State string `toml:"state"`
}

// Differs returns the keys whose values another table has differently.
func (c *Service) Differs(other *Service) (keys []string) {
	a, b := reflect.ValueOf(c).Elem(), reflect.ValueOf(other).Elem()
	for i := range a.NumField() {
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			keys = append(keys, a.Type().Field(i).Tag.Get("toml"))
		}
	}
	return keys
}

// DefaultPluginDir is where packages put executables of sinks.
const DefaultPluginDir = "/usr/lib/pipelined/plugins"

// MaxDrain is the longest Service.Drain. A service manager kills what stops too slowly: 90 seconds later with systemd.
const MaxDrain = 10 * time.Minute

func readNode(s *Section) (n Node) {
	s.Decode(&n)
	if s.Has("name") && !isHostname(n.Name) {
		s.Errorf("name", "must be 1 to %d visible ASCII characters, not %s", maxHostname, spelling.Quote(n.Name))
	}
	return n
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
	c := Service{Metrics: "127.0.0.1:9464", Drain: 5 * time.Second, PluginDir: DefaultPluginDir}
	s.Decode(&c)
	if mistake := checkAddress(c.Metrics); mistake != "" {
		s.Errorf("metrics", "%s", mistake)
	} else {
		checkAccess(s, &c)
	}
	checkControl(s, &c)
	table.DurationInRange(s, "drain", c.Drain, 0, MaxDrain)
	if c.PluginDir != "" && !filepath.IsAbs(c.PluginDir) {
		s.Errorf("plugin_dir", "must be an absolute path, or \"\" for none, not %s", spelling.Quote(c.PluginDir))
	}
	if c.State != "" && !filepath.IsAbs(c.State) {
		s.Errorf("state", "must be an absolute path, not %s", spelling.Quote(c.State))
	}
	if mistake := checkRuntimeDir(c.RuntimeDir); mistake != "" {
		s.Errorf("runtime_dir", "%s", mistake)
	}
	return c
}

// checkControl records what is wrong with the control socket.
func checkControl(s *Section, c *Service) {
	if c.Control != nil {
		switch path := *c.Control; {
		case path == "":
			for _, key := range []string{"control_group", "control_mode"} {
				if s.Has(key) {
					s.Warnf(key, "means nothing here: service.control is empty, so there is no control socket")
				}
			}
		case !filepath.IsAbs(path):
			s.Errorf("control", "must be an absolute path, or \"\" for none, not %s", spelling.Quote(path))
		case len(path) > unixsocket.MaxPath:
			s.Errorf("control", "must be at most %d bytes long: it is the path of a socket", unixsocket.MaxPath)
		case slices.Contains(sharedDirs(), filepath.Dir(filepath.Clean(path))):
			s.Errorf("control", "must not be in %s: it is everybody's", filepath.Dir(filepath.Clean(path)))
		}
	}
	if c.ControlMode != nil && *c.ControlMode&0o007 != 0 {
		s.Warnf("control_mode", "every user of this host may read what passes, and have the configuration read again")
	}
	if _, err := c.ControlGroupID(); err != nil {
		s.Warnf("control_group", "this host does not know it: %v", err)
	}
}

// ControlGroupID returns the number of the group of the control socket, -1 for that of the process.
func (c *Service) ControlGroupID() (int, error) {
	if c.ControlGroup == "" {
		return -1, nil
	}
	if id, err := strconv.ParseUint(c.ControlGroup, 10, 31); err == nil {
		return int(id), nil
	}
	g, err := user.LookupGroup(c.ControlGroup)
	if err != nil {
		return -1, err
	}
	return strconv.Atoi(g.Gid)
}

// sharedDirs are directories that every user may write to, and that are swept of old files.
func sharedDirs() []string { return []string{"/tmp", "/var/tmp", "/dev/shm"} }

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
	for _, shared := range sharedDirs() {
		if clean == shared || strings.HasPrefix(clean, shared+"/") {
			return "must not be in " + shared + ": it is everybody's, and swept of old files"
		}
	}
	return ""
}
