package process

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rtflow/pipelined/internal/options"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/values"
	"github.com/rtflow/pipelined/sdk"
)

// Options are the options of a process. A component that runs one embeds them in the struct that its table is decoded into.
type Options struct {
	SHA256 string      `toml:"sha256"`           // checksum of the executable, in hexadecimal digits; "" accepts any
	Env    []string    `toml:"env"`              // "NAME=value", or "NAME" to pass on the daemon's own
	User   string      `toml:"user"`             // name or number; "" is the daemon's
	Group  string      `toml:"group"`            // name or number; "" is the user's
	Memory values.Size `toml:"memory"`           // at most so much; 0 is no limit
	CPU    float64     `toml:"cpu"`              // at most so many processors; 0 is no limit
	Shared bool        `toml:"shared_directory"` // accept an executable that other users could replace
}

// Limits of the options.
const (
	minMemory = 16 << 20
	minCPU    = 0.01
	maxCPU    = 1024
)

// Spec is what a process is started from.
type Spec struct {
	Options
	Command  []string // path of the executable, and its arguments
	Table    string   // the table that the options stand in, below the component's: "" or "process"
	Reserved []string // prefixes of variables that Env must not set, because the caller does

	uid, gid *uint32 // nil: the daemon's
}

// Check records every mistake in the options in cfg, looks up the user and the group, and reports whether there was no
// mistake. A mistake in the executable is recorded at key. Nothing is started from a Spec that was not checked.
func (s *Spec) Check(cfg sdk.Config, key string) bool {
	c := options.Check(cfg)
	if !filepath.IsAbs(s.Command[0]) {
		c.Mistake(true, key, "must be an absolute path, not %s: nothing is searched for", spelling.Quote(s.Command[0]))
	} else if err := s.checkFile(); err != nil {
		c.Mistake(true, key, "%v", err)
	} else if s.SHA256 != "" {
		f, err := s.open()
		c.Mistake(err != nil, s.Key("sha256"), "%v", err)
		_ = f.Close() // it was only read
	}
	for i, e := range s.Env {
		name, _, _ := strings.Cut(e, "=")
		c.Mistake(!s.validEnv(name), s.Key("env["+strconv.Itoa(i)+"]"),
			`must be "NAME=value", or "NAME" to pass on the daemon's own, not %s`, spelling.Quote(e))
	}
	c.Mistake(s.Memory != 0 && s.Memory < minMemory, s.Key("memory"), "must be at least 16MiB")
	c.Mistake(s.CPU != 0 && !(s.CPU >= minCPU && s.CPU <= maxCPU), s.Key("cpu"), // NaN is neither
		"must be how many processors it may use, %v to %d, or 0 for all, not %v", minCPU, maxCPU, s.CPU)
	if err := s.lookUpUser(); err != nil {
		c.Mistake(true, s.Key("user"), "%v", err)
	} else if err := s.lookUpGroup(); err != nil {
		c.Mistake(true, s.Key("group"), "%v", err)
	} else if s.otherUser() && os.Geteuid() != 0 {
		cfg.Warnf(s.Key("user"), "the daemon does not run as root: it can only start processes as another user with CAP_SETUID, CAP_SETGID, CAP_CHOWN and CAP_KILL")
	}
	return c.OK()
}

// Key returns the key of an option as it stands in the component's table.
func (s *Spec) Key(name string) string {
	if s.Table == "" {
		return name
	}
	return s.Table + "." + name
}

// validEnv reports whether the options may set an environment variable.
func (s *Spec) validEnv(name string) bool {
	for _, prefix := range append(s.Reserved, reservedPrefix) {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return name != "" && !strings.ContainsAny(name, " \x00")
}

func (s *Spec) lookUpUser() error {
	if s.User == "" {
		return nil
	}
	u, err := user.Lookup(s.User)
	if err != nil {
		if u, err = user.LookupId(s.User); err != nil {
			return fmt.Errorf("there is no user %s", spelling.Quote(s.User))
		}
	}
	s.uid, s.gid = id(u.Uid), id(u.Gid)
	return nil
}

func (s *Spec) lookUpGroup() error {
	if s.Group == "" {
		return nil
	}
	g, err := user.LookupGroup(s.Group)
	if err != nil {
		if g, err = user.LookupGroupId(s.Group); err != nil {
			return fmt.Errorf("there is no group %s", spelling.Quote(s.Group))
		}
	}
	s.gid = id(g.Gid)
	return nil
}

func id(text string) *uint32 {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return nil // not on Linux
	}
	v := uint32(n)
	return &v
}

// otherUser reports whether the process runs as another user or group than the daemon.
func (s *Spec) otherUser() bool { return s.uid != nil || s.gid != nil }

// Chown gives a file or directory to the user and group that the process runs as.
func (s *Spec) Chown(path string) error {
	if !s.otherUser() {
		return nil
	}
	uid, gid := -1, -1
	if s.uid != nil {
		uid = int(*s.uid)
	}
	if s.gid != nil {
		gid = int(*s.gid)
	}
	return os.Chown(path, uid, gid)
}

// attributes are how the process differs from an ordinary child.
func (s *Spec) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if s.otherUser() {
		c := &syscall.Credential{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}
		if s.uid != nil {
			c.Uid = *s.uid
		}
		if s.gid != nil {
			c.Gid = *s.gid
		}
		a.Credential = c
	}
	return a
}

// environment returns the environment that the options ask for, and nothing else.
func (s *Spec) environment() []string {
	var env []string
	for _, e := range s.Env {
		if !strings.Contains(e, "=") {
			value, ok := os.LookupEnv(e)
			if !ok {
				continue
			}
			e += "=" + value
		}
		env = append(env, e)
	}
	return env
}
