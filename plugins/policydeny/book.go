package policydeny

import (
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/sdk"
)

// book resolves the names of addresses and address sets, each once.
type book struct {
	cfg      sdk.Config
	entries  map[string][]string
	names    []string // sorted
	resolved map[string]addrs
	path     []string // the entries being resolved, outermost first
}

// newBook checks and resolves every entry, so that a mistake is found whether or not a policy uses it.
func newBook(entries map[string][]string, cfg sdk.Config) *book {
	b := &book{cfg: cfg, entries: entries, names: sortedKeys(entries), resolved: make(map[string]addrs)}
	for _, name := range b.names {
		key := tableKey("addresses", name)
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

// define resolves the entry of that name. An entry with mistakes, which are recorded once, holds what is right of it.
func (b *book) define(name string) addrs {
	if set, done := b.resolved[name]; done {
		return set
	}
	b.path = append(b.path, name)
	key, list := tableKey("addresses", name), b.entries[name]
	if len(list) == 0 {
		b.cfg.Errorf(key, "an empty set matches nothing")
	}
	parts := make([]addrs, 0, len(list))
	for i, word := range list {
		at := slices.Index(b.path, word)
		switch {
		case at >= 0:
			cycle := append(slices.Clone(b.path[at:]), word)
			b.cfg.Errorf(elementKey(key, i), "the set contains itself: %s", strings.Join(cycle, " > "))
		case word == wordAny, word == wordAnyIPv4, word == wordAnyIPv6:
			b.cfg.Errorf(elementKey(key, i), "%q stands in policies only, not in an address set", word)
		default:
			parts = append(parts, b.resolve(word, elementKey(key, i)))
		}
	}
	b.path = b.path[:len(b.path)-1]
	set := union(parts)
	b.resolved[name] = set
	return set
}

// resolve returns the addresses that one word stands for: a name of the book, a prefix or an address. The word stands at
// key.
func (b *book) resolve(word, key string) addrs {
	if _, ok := b.entries[word]; ok {
		return b.define(word)
	}
	if !looksLikeAddress(word) {
		b.cfg.Errorf(key, "no address or address set is called %q%s", word, didYouMean(word, b.names))
		return addrs{}
	}
	p, err := config.ParsePrefix(word)
	if err != nil {
		b.cfg.Errorf(key, "%v", err)
		return addrs{}
	}
	return fromPrefix(p)
}

// list returns the addresses that the words of a policy's list, which stands at key, mean together.
func (b *book) list(list []string, key string) addrs {
	if list == nil {
		return union([]addrs{anyIPv4(), anyIPv6()})
	}
	if len(list) == 0 {
		b.cfg.Errorf(key, "an empty list matches nothing; leave the key out or write \"any\" for every address")
	}
	parts := make([]addrs, 0, len(list)+1)
	for i, word := range list {
		switch word {
		case wordAny:
			if len(list) > 1 {
				b.cfg.Errorf(elementKey(key, i), "\"any\" stands alone")
			}
			parts = append(parts, anyIPv4(), anyIPv6())
		case wordAnyIPv4:
			parts = append(parts, anyIPv4())
		case wordAnyIPv6:
			parts = append(parts, anyIPv6())
		default:
			parts = append(parts, b.resolve(word, elementKey(key, i)))
		}
	}
	return union(parts)
}

// looksLikeAddress tells a prefix, right or wrong, from a name: it has a slash or a colon, or nothing but digits and dots.
func looksLikeAddress(word string) bool {
	return strings.ContainsAny(word, "/:") || word != "" && strings.Trim(word, "0123456789.") == ""
}
