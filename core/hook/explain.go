package hook

// Explainer is implemented by a [Hook] or [SessionHook] that can say why it judges a packet as it does.
type Explainer interface {
	// Explain says what of the hook has judged a packet. Inspect or Decide has just said v and f of it. Explain changes nothing,
	// and it is not called for hooks that workers use: it may allocate, and take its time.
	Explain(p *Packet, v Verdict, f *Finding) Explanation
	// Rules lists what may decide, in the order of the configuration.
	Rules() []Rule
}

// Explanation is why a hook has judged a packet as it did, in words for people.
type Explanation struct {
	Looked  string   // what the hook has compared the packet with, or why it has not looked at it
	Matched []Rule   // in the order in which they matched: the last one has decided; none, if no rule has
	Nearest *Nearest // for a packet that does not pass: the rule that comes nearest to letting it pass; nil: there is none
	Notes   []string // what one packet alone cannot show
}

// Rule is one rule of a hook, as the configuration has it.
type Rule struct {
	Sort string // "policy", "term", "screen", "default"
	Name string
	Key  string // path of the rule in the hook's table: "policy[3]"; "": the table itself
	Then string // what it does: "permit", "discard, log"
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
