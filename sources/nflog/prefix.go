package nflog

import (
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/sdk/event"
)

// outcome is what a rule did with a packet, or why the packet is not told of.
type outcome uint8

const (
	denied outcome = iota
	rejected
	logged
	accepted
	numVerdicts // those above are told of
)

// What an event is, and its action, by outcome.
var (
	whats   = [numVerdicts]source.What{denied: source.Denied, rejected: source.Denied, logged: source.Logged, accepted: source.Accepted}
	actions = [numVerdicts]event.Action{
		denied: event.ActionDeny, rejected: event.ActionReject, logged: event.ActionPermit, accepted: event.ActionPermit,
	}
)

// words are the actions that a prefix may name, in lower case. Those that name none have the outcome of the configuration.
var words = map[string]outcome{
	"drop": denied, "dropped": denied, "deny": denied, "denied": denied, "block": denied, "blocked": denied, "discard": denied, "discarded": denied,
	"reject": rejected, "rejected": rejected,
	"accept": accepted, "accepted": accepted, "allow": accepted, "allowed": accepted, "permit": accepted, "permitted": accepted,
	"pass": accepted, "passed": accepted,
	"log": numVerdicts, "logged": numVerdicts, "audit": numVerdicts,
}

// defaultPatterns are tried in this order.
var defaultPatterns = []string{
	// "DROP:fwd-web ", "reject wan in: "
	`^(?P<action>[[:alpha:]]+)(?:[:\s]\s*(?P<rule>.*?))??:?(?:\sIN=)?[:\s]*$`,
	// "[UFW BLOCK] "
	`^\[(?P<rule>.+)\s(?P<action>[[:alpha:]]+)\](?:\sIN=)?\s*$`,
	// "filter_FWD_public_REJECT: ", "Shorewall:net2fw:DROP:", "net-fw DROP ", "FW-INPUT-DROP IN="
	`^(?:Shorewall6?:)?(?P<rule>.+?)[:_\s-](?P<action>[[:alpha:]]+):?(?:\sIN=)?[:\s]*$`,
	// "drop_invalid ", "REJECT-smtp: "; without words that begin other names, such as log and pass
	`^(?P<action>(?i:drop(?:ped)?|den(?:y|ied)|block(?:ed)?|discard(?:ed)?|reject(?:ed)?|accept(?:ed)?|allow(?:ed)?))[_-](?P<rule>.+?):?(?:\sIN=)?[:\s]*$`,
}

// Pattern finds the name and the action of a rule in its prefix.
type Pattern struct {
	re           *regexp.Regexp
	rule, action int // numbers of the groups, -1 for none
}

const (
	maxPrefix   = 128  // bytes of a prefix that are looked at: the kernel has no longer ones
	maxPrefixes = 4096 // different ones that are kept
)

// verdict is what a prefix says.
type verdict struct {
	rule    *source.Rule
	outcome outcome
}

// prefixes knows what the prefixes say that it has seen. It is used by one goroutine, but for its counters.
type prefixes struct {
	patterns []*Pattern
	outcome  outcome // of a prefix that says none
	known    map[string]verdict
	rules    map[string]*source.Rule // by name
	other    verdict                 // of those that there is no room for
	unsaid   func(prefix string)     // is told of the first that names no action; nil: it was, or nobody is

	count    atomic.Int64  // how many are known
	overflow atomic.Uint64 // packets whose prefix there was no room for
}

func newPrefixes(patterns []*Pattern, otherwise outcome) *prefixes {
	p := &prefixes{patterns: patterns, outcome: otherwise, known: make(map[string]verdict), rules: make(map[string]*source.Rule)}
	p.other = verdict{p.ruleOf("other"), otherwise}
	return p
}

// find returns what a prefix says. It allocates only for one that it has not seen before.
func (p *prefixes) find(prefix []byte) verdict {
	prefix = prefix[:min(len(prefix), maxPrefix)]
	if v, ok := p.known[string(prefix)]; ok {
		return v
	}
	if len(p.known) == maxPrefixes {
		p.overflow.Add(1)
		return p.other
	}
	name, outcome, said := p.read(string(prefix))
	if !said && p.unsaid != nil {
		p.unsaid(string(prefix))
		p.unsaid = nil
	}
	v := verdict{p.ruleOf(name), outcome}
	p.known[string(prefix)] = v
	p.count.Store(int64(len(p.known)))
	return v
}

// ruleOf returns the rule of that name: one for every prefix that names it.
func (p *prefixes) ruleOf(name string) *source.Rule {
	r := p.rules[name]
	if r == nil {
		r = &source.Rule{Name: name}
		p.rules[name] = r
	}
	return r
}

// read applies the patterns to a prefix, and reports whether it says an action. A pattern whose action is none of the words does not
// match.
func (p *prefixes) read(prefix string) (name string, o outcome, said bool) {
	prefix = strings.ToValidUTF8(prefix, "\uFFFD")
	whole := strings.TrimSuffix(strings.TrimSpace(prefix), " IN=")
	if trimmed := strings.TrimRight(whole, ": "); trimmed != "" {
		whole = trimmed
	}
	for _, pattern := range p.patterns {
		m := pattern.re.FindStringSubmatch(prefix)
		if m == nil {
			continue
		}
		name, o, said := "", p.outcome, false
		if pattern.rule >= 0 {
			name = strings.TrimSpace(m[pattern.rule])
		}
		if pattern.action >= 0 && m[pattern.action] != "" {
			word, ok := words[strings.ToLower(m[pattern.action])]
			if !ok {
				continue
			}
			said = true
			if word != numVerdicts {
				o = word
			}
		}
		if name == "" {
			name = whole
		}
		return name, o, said
	}
	return whole, p.outcome, false
}

// groupRule returns the rule of packets without a prefix.
func (p *prefixes) groupRule(group uint16) *source.Rule {
	return p.ruleOf("group-" + strconv.Itoa(int(group)))
}
