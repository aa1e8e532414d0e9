package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/table"
)

// Change is one difference between two configurations.
type Change struct {
	// What is "added", "removed", "changed", or "moved": a table that stands elsewhere in the order of those with names.
	What string `json:"what"`
	// Path is the key that differs. Tables of an array that have names are called by them: hooks.policies.policy[web-in].then.
	Path string `json:"path"`
	From string `json:"from,omitempty"` // the value that was, if it is no table; see [secret] for what is not shown
	To   string `json:"to,omitempty"`   // the value that is
	// Elements is set if the values are arrays: From and To then are what only one of them has.
	Elements bool   `json:"elements,omitempty"`
	Old      *Place `json:"old,omitempty"` // where it was
	New      *Place `json:"new,omitempty"` // where it is
	// Crossed are the tables that a moved one stood before and stands behind now, or the other way round; each pair is told once.
	Crossed []Crossed `json:"-"`

	// Table is the path of the component's table, and Key that of a moved table in it, as a plugin has it.
	Table, Key string `json:"-"`
}

// Crossed is a table that another one has crossed.
type Crossed struct {
	Name string
	Key  string // in the new configuration, as Change.Key
}

// Place is where something stands in a configuration.
type Place struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

func (p *Place) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Changes returns how another configuration differs from f, table by table: what was removed and added, what has another value, and in
// arrays whose tables have names what stands in another order. Tests are not compared, nor is the order of tables and keys, which says nothing.
func (f *File) Changes(to *File) []Change {
	old, now := sections(f), sections(to)
	c := comparison{changes: []Change{}}
	for _, path := range union(old, now) {
		c.old, c.new, c.table = old[path], now[path], path
		switch {
		case c.new == nil:
			c.add("removed", "", "", "")
		case c.old == nil:
			c.add("added", "", "", "")
		default:
			c.tables("", "", "", c.old.values, c.new.values)
		}
	}
	return c.changes
}

// RunningChanges returns the changes of what runs: those of components that are chained in neither configuration are left out.
func (f *File) RunningChanges(to *File) []Change {
	runs := make(map[string]bool)
	for _, file := range []*File{f, to} {
		for _, chain := range [][]*Component{file.Pipeline.Sources, file.Pipeline.Hooks, file.Pipeline.Sinks} {
			for _, c := range chain {
				runs[c.Section.Path()] = true
			}
		}
	}
	return slices.DeleteFunc(f.Changes(to), func(c Change) bool {
		family, _, component := strings.Cut(c.Table, ".")
		return component && family != "zones" && !runs[c.Table]
	})
}

func sections(f *File) map[string]*Section {
	m := make(map[string]*Section, len(f.tables))
	for _, s := range f.tables {
		m[s.Path()] = s
	}
	return m
}

// union returns the keys of both maps, sorted.
func union[V any](a, b map[string]V) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

// comparison is the comparison of one table of two configurations.
type comparison struct {
	old, new *Section // nil: there is none
	table    string
	changes  []Change
}

// add adds a change: of the key that people read, which has these keys in the two tables.
func (c *comparison) add(what, key, oldKey, newKey string) *Change {
	change := Change{What: what, Path: c.table, Table: c.table}
	if key != "" {
		change.Path += "." + key
	}
	if what != "added" {
		change.Old = placeOf(c.old, oldKey)
	}
	if what != "removed" {
		change.New = placeOf(c.new, newKey)
	}
	c.changes = append(c.changes, change)
	return &c.changes[len(c.changes)-1]
}

func placeOf(s *Section, key string) *Place {
	file, line, column := s.PlaceOf(key)
	return &Place{file, line, column}
}

// tables compares two tables.
func (c *comparison) tables(key, oldKey, newKey string, old, now map[string]any) {
	for _, name := range union(old, now) {
		a, had := old[name]
		b, has := now[name]
		key, oldKey, newKey := keypath.Join(key, name), keypath.Join(oldKey, name), keypath.Join(newKey, name)
		switch {
		case !has:
			c.add("removed", key, oldKey, newKey).From = shown(key, a)
		case !had:
			c.add("added", key, oldKey, newKey).To = shown(key, b)
		default:
			c.values(key, oldKey, newKey, a, b)
		}
	}
}

// values compares two values of a key.
func (c *comparison) values(key, oldKey, newKey string, old, now any) {
	if reflect.DeepEqual(old, now) {
		return
	}
	a, aTable := old.(map[string]any)
	b, bTable := now.(map[string]any)
	if aTable && bTable {
		c.tables(key, oldKey, newKey, a, b)
		return
	}
	from, fromNamed := named(old)
	to, toNamed := named(now)
	if fromNamed && toNamed {
		c.arrays(key, oldKey, newKey, from, to)
		return
	}
	change := c.add("changed", key, oldKey, newKey)
	change.From, change.To = shown(key, old), shown(key, now)
	if less, more, ok := elements(key, old, now); ok {
		change.From, change.To, change.Elements = less, more, true
	}
}

// elements returns what only one of two arrays has, "" for nothing. It reports false for what are no arrays of plain values, and for arrays of
// the same elements.
func elements(key string, old, now any) (less, more string, ok bool) {
	a, isPlain := plain(old)
	b, bothPlain := plain(now)
	if !isPlain || !bothPlain {
		return "", "", false
	}
	less, more = without(key, a, b), without(key, b, a)
	return less, more, less+more != ""
}

// plain returns the elements of an array of values that are no tables and no arrays.
func plain(v any) (list []any, ok bool) {
	if !table.IsArray(v) {
		return nil, false
	}
	items := reflect.ValueOf(v)
	for i := range items.Len() {
		e := items.Index(i).Interface()
		if !reflect.TypeOf(e).Comparable() {
			return nil, false
		}
		list = append(list, e)
	}
	return list, true
}

// without shows the elements of a that b does not have, "" if there are none.
func without(key string, a, b []any) string {
	has := make(map[any]bool, len(b))
	for _, e := range b {
		has[e] = true
	}
	var rest []any
	open := publicList(a) // of the whole: what is secret may be so for what stands before it
	for i, e := range a {
		if !has[e] {
			rest = append(rest, open[i])
		}
	}
	if len(rest) == 0 {
		return ""
	}
	return shown(key, rest)
}

// element is a table of an array, with its name and its place among the others.
type element struct {
	name   string
	index  int
	values map[string]any
}

// named returns the tables of an array by name. It reports false if the value is no array of tables, or if not each has a name of its own.
func named(v any) (list []element, ok bool) {
	if !table.IsArray(v) {
		return nil, false
	}
	items := reflect.ValueOf(v)
	seen := make(map[string]bool, items.Len())
	for i := range items.Len() {
		values, _ := reflect.TypeAssert[map[string]any](items.Index(i))
		name, _ := values["name"].(string)
		if name == "" || seen[name] {
			return nil, false
		}
		seen[name] = true
		list = append(list, element{name, i, values})
	}
	return list, true
}

// arrays compares two arrays of tables with names.
func (c *comparison) arrays(key, oldKey, newKey string, old, now []element) {
	was := make(map[string]element, len(old))
	for _, e := range old {
		was[e.name] = e
	}
	is := make(map[string]element, len(now))
	for _, e := range now {
		is[e.name] = e
	}
	label := func(name string) string { return key + "[" + name + "]" }
	for _, e := range old {
		if _, stays := is[e.name]; !stays {
			c.add("removed", label(e.name), keypath.Element(oldKey, e.index), newKey)
		}
	}
	var kept []element // of the new array, index being that in the old one
	for _, e := range now {
		from, stood := was[e.name]
		at := keypath.Element(newKey, e.index)
		if !stood {
			c.add("added", label(e.name), oldKey, at)
			continue
		}
		c.tables(label(e.name), keypath.Element(oldKey, from.index), at, from.values, e.values)
		kept = append(kept, element{name: e.name, index: from.index})
	}
	stays := longestInOrder(kept)
	for i := range kept {
		if stays[i] {
			continue
		}
		name := kept[i].name
		change := c.add("moved", label(name), keypath.Element(oldKey, kept[i].index), keypath.Element(newKey, is[name].index))
		change.Key = keypath.Element(newKey, is[name].index)
		for j := range kept {
			if (stays[j] || j < i) && (i < j) != (kept[i].index < kept[j].index) {
				change.Crossed = append(change.Crossed, Crossed{kept[j].name, keypath.Element(newKey, is[kept[j].name].index)})
			}
		}
	}
}

// longestInOrder marks the most elements that stand in the order of their indices.
func longestInOrder(list []element) []bool {
	var ends []int // place of the least last element of a run of each length
	before := make([]int, len(list))
	for i, e := range list {
		n, _ := slices.BinarySearchFunc(ends, e.index, func(at, index int) int { return list[at].index - index })
		before[i] = -1
		if n > 0 {
			before[i] = ends[n-1]
		}
		if n == len(ends) {
			ends = append(ends, i)
		} else {
			ends[n] = i
		}
	}
	marked := make([]bool, len(list))
	if len(ends) > 0 {
		for i := ends[len(ends)-1]; i >= 0; i = before[i] {
			marked[i] = true
		}
	}
	return marked
}
