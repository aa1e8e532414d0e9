package options

import (
	"errors"
	"io/fs"
	"time"

	"github.com/rtflow/pipelined/sdk"
)

// Checker records mistakes and remembers that there was one.
type Checker struct {
	cfg sdk.Config
	bad bool
}

// Check returns a checker that records in cfg.
func Check(cfg sdk.Config) *Checker { return &Checker{cfg: cfg} }

// OK reports whether there was no mistake.
func (c *Checker) OK() bool { return !c.bad }

// Mistake records a mistake at a key, if there is one.
func (c *Checker) Mistake(there bool, key, form string, args ...any) {
	if there {
		c.cfg.Errorf(key, form, args...)
		c.bad = true
	}
}

// Duration records a mistake if a duration is not between the two, inclusive.
func (c *Checker) Duration(d time.Duration, key string, low, high time.Duration) {
	c.Mistake(d < low || d > high, key, "want %v to %v, got %v", low, high, d)
}

// Number records a mistake if a number is not between the two, inclusive.
func (c *Checker) Number(n int, key string, low, high int) {
	c.Mistake(n < low || n > high, key, "want %d to %d, got %d", low, high, n)
}

// TLS records the mistakes in the table at a key, and reports whether there was none.
func (c *Checker) TLS(o *TLS, key string) bool {
	if o == nil || (o.Cert == "") == (o.Key == "") {
		return true
	}
	missing, have := "key", "cert"
	if o.Key != "" {
		missing, have = have, missing
	}
	c.Mistake(true, key+"."+missing, "missing: cert and key go together, and there is only %s", have)
	return false
}

// TLSFiles records the mistakes in the files of a table without mistakes. It warns of those that it cannot read: they may be there,
// or be readable, when the daemon runs.
func (c *Checker) TLSFiles(o *TLS, key string) {
	_, err := o.Config()
	bad, ok := errors.AsType[*FileError](err)
	if !ok {
		return
	}
	switch key += "." + bad.Key; {
	case errors.Is(err, fs.ErrNotExist):
		c.cfg.Warnf(key, "%v; nothing is sent until it is there", bad.Err)
	case errors.Is(err, fs.ErrPermission):
		c.cfg.Warnf(key, "%v; the daemon's user must be able to read it", bad.Err)
	default:
		c.Mistake(true, key, "%v", bad.Err)
	}
}

// Warn returns how a sink warns, which may be not at all.
func Warn(env sdk.Env) func(msg string, args ...any) {
	if env.Warn == nil {
		return func(string, ...any) {}
	}
	return env.Warn
}
