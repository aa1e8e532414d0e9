package hook

// Explainer is implemented by a [Hook] or [SessionHook] that can say why it judges a packet as it does.
type Explainer interface {
	// Explain says what of the hook has judged a packet. Inspect or Decide has just said v and f of it. Explain changes nothing,
	// and it is not called in a daemon: it may allocate, and take its time.
	Explain(p *Packet, v Verdict, f *Finding) Explanation
	// Rules lists what may decide, in the order of the configuration.
	Rules() []Rule
}

// Explanation is why a hook has judged a packet as it did, in words for people.
type Explanation struct {
	Looked  string // what the hook has compared the packet with, or why it has not looked at it
	Matched []Rule // in the order in which they matched: the last one has decided; none, if no rule has
	// Nearest, if set, looks for the rule that comes nearest to letting a packet pass that does not; nil: there is none. It is to be
	// called, if at all, while the packet is there.
	Nearest func() *Nearest
	Notes   []string // what one packet alone cannot show
}

// Rule is one rule of a hook, as the configuration has it.
type Rule struct {
	Sort string // "policy", "term", "screen", "default"
	Name string
	Key  string // path of the rule in the hook's table: "policy[3]"; "": the table itself
	Then string // what it does: "permit", "discard, log"
}

// Overlapper is implemented by an [Explainer] of which one packet can match several rules.
type Overlapper interface {
	// Overlap reports whether one packet may match both rules, which are given by their keys, and then the one that stands first is asked
	// first. Where that takes too long to find out it says yes.
	Overlap(a, b string) bool
}

// Accumulator is implemented by an [Explainer] that has rules of which one packet alone shows nothing, such as rates. They are not among
// those that Rules returns.
type Accumulator interface {
	Accumulating() []Rule
}

// Nearest is a rule that would let a packet pass, and what keeps it from that.
type Nearest struct {
	Rule
	Fails []Fail // at least one
}

// Fail is a condition of a rule that a packet does not meet.
type Fail struct {
	Key  string // path of the condition in the hook's table: "policy[3].application"
	Text string // "application: tcp port 8080 is in none of junos-http, ping"
}
