package nflog

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/values"
	"github.com/rtflow/pipelined/sdk"
)

// Limits of the options.
const (
	maxGroups     = 64
	maxGroup      = 65535
	minBuffer     = 64 << 10
	maxBuffer     = 1 << 30
	minSnapLength = 64 // an IPv4 header with options, and ports
	maxSnapLength = 1024
	maxThreshold  = 512
	minFlush      = flushUnit
	maxFlush      = time.Minute

	defaultBuffer = 8 << 20
)

// options is the table of the source.
type options struct {
	Groups         []int         `toml:"groups"`
	Prefix         []string      `toml:"prefix"`
	Action         string        `toml:"action"`
	Buffer         values.Size   `toml:"buffer"`
	SnapLength     int           `toml:"snaplen"`
	QueueThreshold int           `toml:"queue_threshold"`
	Flush          time.Duration `toml:"flush"`
}

// decode reads the table and records every mistake in it.
func decode(cfg sdk.Config) Config {
	o := options{
		Prefix: defaultPatterns, Action: "log", Buffer: defaultBuffer, SnapLength: 192, QueueThreshold: 1, Flush: 100 * time.Millisecond,
	}
	cfg.Decode(&o) // what could be read is checked all the same, so that one run shows every mistake
	c := Config{
		Patterns: make([]*Pattern, 0, len(o.Prefix)), Buffer: int(o.Buffer), SnapLength: o.SnapLength, QueueThreshold: o.QueueThreshold, Flush: o.Flush,
	}
	if len(o.Groups) == 0 {
		cfg.Errorf("groups", "names no group; such as [5], for rules with log group 5")
	} else if len(o.Groups) > maxGroups {
		cfg.Errorf("groups", "%d groups are more than %d", len(o.Groups), maxGroups)
	}
	for i, group := range o.Groups {
		key := "groups[" + strconv.Itoa(i) + "]"
		if group < 0 || group > maxGroup {
			cfg.Errorf(key, "%d is not between 0 and %d", group, maxGroup)
		} else if slices.Contains(o.Groups[:i], group) {
			cfg.Errorf(key, "%d is listed twice", group)
		}
		c.Groups = append(c.Groups, uint16(group))
	}
	for i, text := range o.Prefix {
		p, err := compile(text)
		if err != nil {
			cfg.Errorf("prefix["+strconv.Itoa(i)+"]", "%v", err)
		}
		c.Patterns = append(c.Patterns, p)
	}
	switch o.Action {
	case "log":
		c.Outcome = logged
	case "deny":
		c.Outcome = denied
	case "reject":
		c.Outcome = rejected
	case "accept":
		c.Outcome = accepted
	default:
		cfg.Errorf("action", "%v", spelling.Unknown("action", o.Action, []string{"log", "deny", "reject", "accept"}))
	}
	if o.Buffer < minBuffer || o.Buffer > maxBuffer {
		cfg.Errorf("buffer", "%d bytes are not between %dKiB and %dMiB", o.Buffer, minBuffer>>10, maxBuffer>>20)
	}
	if o.SnapLength < minSnapLength || o.SnapLength > maxSnapLength {
		cfg.Errorf("snaplen", "%d is not between %d and %d", o.SnapLength, minSnapLength, maxSnapLength)
	}
	if o.QueueThreshold < 1 || o.QueueThreshold > maxThreshold {
		cfg.Errorf("queue_threshold", "%d is not between 1 and %d", o.QueueThreshold, maxThreshold)
	}
	if o.Flush < minFlush || o.Flush > maxFlush {
		cfg.Errorf("flush", "%v is not between %v and %v", o.Flush, minFlush, maxFlush)
	}
	return c
}

// compile reads a pattern of the option prefix.
func compile(text string) (*Pattern, error) {
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	p := &Pattern{re: re, rule: re.SubexpIndex("rule"), action: re.SubexpIndex("action")}
	for _, name := range re.SubexpNames() {
		if name != "" && name != "rule" && name != "action" {
			return nil, fmt.Errorf(`has a group named %q; the names are "rule" and "action"`, name)
		}
	}
	if p.rule < 0 && p.action < 0 {
		return nil, fmt.Errorf(`has no group named "rule" or "action", such as (?P<rule>\S+)`)
	}
	return p, nil
}
