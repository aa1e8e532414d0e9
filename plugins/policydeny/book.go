package policydeny

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/values"
	"github.com/rtflow/pipelined/sdk"
)

// book resolves the names of addresses and address sets, and prefixes, each once.
type book struct {
	cfg     sdk.Config
	entries map[string][]string
	names   []string        // sorted
	sets    map[string]*set // by name, or by prefix in its usual spelling
	path    []string        // the entries being resolved, outermost first
	made    uint32          // sets so far

	any, anyIPv4, anyIPv6 *set
}

// newBook checks and resolves every entry, so that a mistake is found whether or not a policy uses it.
func newBook(entries map[string][]string, cfg sdk.Config) *book {
	b := &book{cfg: cfg, entries: entries, names: slices.Sorted(maps.Keys(entries)), sets: make(map[string]*set)}
	b.any, b.anyIPv4, b.anyIPv6 = b.newSet(), b.prefix(allIPv4()), b.prefix(allIPv6())
	b.any.add(allIPv4())
	b.any.add(allIPv6())
	for _, name := range b.names {
		key := keypath.Join("addresses", name)
		switch {
		case name == "":
			cfg.Errorf(key, "an address needs a name")
		case name == wordAny, name == wordAnyIPv4, name == wordAnyIPv6:
			cfg.Errorf(key, "%q has a meaning of its own and cannot name an address", name)
		case looksLikeAddress(name):
			cfg.Errorf(key, "%q reads as an address and cannot name one", name)
		}
		b.define(name)
	}
	return b
}

func (b *book) newSet() *set {
	b.made++
	return &set{id: b.made}
}

// prefix returns the set of the addresses of a prefix.
func (b *book) prefix(p netip.Prefix) *set {
	key := p.String()
	s, ok := b.sets[key]
	if !ok {
		s = b.newSet()
		s.add(p)
		b.sets[key] = s
	}
	return s
}

// define resolves the entry of that name. An entry with mistakes, which are recorded once, holds what is right of it.
func (b *book) define(name string) *set {
	if s, done := b.sets[name]; done {
		return s
	}
	b.path = append(b.path, name)
	key, list := keypath.Join("addresses", name), b.entries[name]
	if len(list) == 0 {
		b.cfg.Errorf(key, "an empty set matches nothing")
	}
	s := b.newSet()
	s.prefixes = make([]netip.Prefix, 0, len(list))
	for i, word := range list {
		at := slices.Index(b.path, word)
		_, named := b.entries[word]
		switch {
		case at >= 0:
			cycle := append(slices.Clone(b.path[at:]), word)
			b.cfg.Errorf(keypath.Element(key, i), "the set contains itself: %s", strings.Join(cycle, " > "))
		case word == wordAny, word == wordAnyIPv4, word == wordAnyIPv6:
			b.cfg.Errorf(keypath.Element(key, i), "%q stands in policies only, not in an address set", word)
		case named:
			s.include(b.define(word))
		default:
			if p, ok := b.parse(word, func() string { return keypath.Element(key, i) }); ok {
				s.add(p)
			}
		}
	}
	b.path = b.path[:len(b.path)-1]
	b.sets[name] = s
	return s
}

// parse reads a prefix or an address, and records what is wrong with it at its key.
func (b *book) parse(word string, key func() string) (p netip.Prefix, ok bool) {
	if !looksLikeAddress(word) {
		b.cfg.Errorf(key(), "no address or address set is called %q%s", word, spelling.Suggest(word, b.names))
		return p, false
	}
	p, err := values.ParsePrefix(word)
	if err != nil {
		b.cfg.Errorf(key(), "%v", err)
		return p, false
	}
	return p, true
}

// list returns the sets that the words of a policy's list, which stands at key, mean together.
func (b *book) list(list []string, key policyKey) []*set {
	if list == nil {
		return []*set{b.any}
	}
	if len(list) == 0 {
		b.cfg.Errorf(key.String(), "an empty list matches nothing; leave the key out or write \"any\" for every address")
	}
	sets := make([]*set, 0, len(list))
	for i, word := range list {
		_, named := b.entries[word]
		switch {
		case word == wordAny:
			if len(list) > 1 {
				b.cfg.Errorf(key.element(i), "\"any\" stands alone")
			}
			sets = append(sets, b.any)
		case word == wordAnyIPv4:
			sets = append(sets, b.anyIPv4)
		case word == wordAnyIPv6:
			sets = append(sets, b.anyIPv6)
		case named:
			sets = append(sets, b.define(word))
		default:
			if p, ok := b.parse(word, func() string { return key.element(i) }); ok {
				sets = append(sets, b.prefix(p))
			}
		}
	}
	return sets
}

// looksLikeAddress tells a prefix, right or wrong, from a name: it has a slash or a colon, or nothing but digits and dots.
func looksLikeAddress(word string) bool {
	return strings.ContainsAny(word, "/:") || word != "" && strings.Trim(word, "0123456789.") == ""
}
