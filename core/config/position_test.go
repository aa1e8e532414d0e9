package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
	gocmp "github.com/google/go-cmp/cmp"
)

// place names are full paths; the wanted text is what stands at the place.
func TestScanPlaces(t *testing.T) {
	const text = "# über [a] = \"no\"\n" +
		"top = 1 # [not] a = table\n" +
		"'quoted' . \"k\\u00e9y\" = { x = 1, y.z = [ 10, [ 20 ] ] }\n" +
		"[ hooks . edge-in ]\n" +
		"text = \"\"\"\nnot = 1\n[no]\n\\\"\"\"\\\"\"\"\"\"\n" +
		"raw = '''\n'' [no] \\'''''\n" +
		"list = [ # one\n  \"a\", # b = 1\n  { m = 1, },\n]\n" +
		"[[hooks.edge-in.term]]\r\nfrom.protocol = \"udp\"\r\n" +
		"[[hooks.edge-in.term]]\n\tfrom = {\n  protocol = 1 }\n" +
		"[hooks.edge-in.term.sub]\nlast=1979-05-27 07:32:00\n" +
		"[hooks]\n" +
		"é = 1\n"
	want := []string{
		`top 2:1 top`,
		`quoted 3:1 'quoted'`,
		`quoted."kéy" 3:12 "k\u00e9y"`,
		`quoted."kéy".x 3:27 x`,
		`quoted."kéy".y 3:34 y`,
		`quoted."kéy".y.z 3:36 z`,
		`quoted."kéy".y.z[0] 3:42 10`,
		`quoted."kéy".y.z[1] 3:46 [`,
		`quoted."kéy".y.z[1][0] 3:48 20`,
		`hooks.edge-in 4:11 edge-in`,
		`hooks.edge-in.text 5:1 text`,
		`hooks.edge-in.raw 9:1 raw`,
		`hooks.edge-in.list 11:1 list`,
		`hooks.edge-in.list[0] 12:3 "a"`,
		`hooks.edge-in.list[1] 13:3 {`,
		`hooks.edge-in.list[1].m 13:5 m`,
		`hooks.edge-in.term 15:17 term`,
		`hooks.edge-in.term[0] 15:17 term`,
		`hooks.edge-in.term[0].from 16:1 from`,
		`hooks.edge-in.term[0].from.protocol 16:6 protocol`,
		`hooks.edge-in.term[1] 17:17 term`,
		`hooks.edge-in.term[1].from 18:2 from`,
		`hooks.edge-in.term[1].from.protocol 19:3 protocol`,
		`hooks.edge-in.term[1].sub 20:21 sub`,
		`hooks.edge-in.term[1].sub.last 21:1 last`,
		`hooks 22:2 hooks`,
	}
	valid, _, _ := strings.Cut(text, "é = 1")
	if _, err := toml.Decode(valid, new(map[string]any)); err != nil {
		t.Fatalf("the text is no TOML: %v", err)
	}
	root, _, reason := scan(text)
	if reason != "" {
		t.Fatal(reason)
	}
	l := newLines(text)
	var got []string
	for _, w := range want {
		path, rest, _ := strings.Cut(w, " ")
		_, written, _ := strings.Cut(rest, " ")
		c := cursor{node: root}.follow(path)
		if c.node == nil {
			got = append(got, path+" is missing")
			continue
		}
		line, column := l.at(text, c.offset)
		at := text[c.offset:min(len(text), c.offset+len(written))]
		got = append(got, fmt.Sprintf("%s %d:%d %s", c.path, line, column, at))
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
}

// defined is a key as the parser lists them, with its offset.
type defined struct {
	path   []string
	offset int
}

// definitions lists the keys that the text defines, in its order.
func definitions(n *node, path []string, list []defined) []defined {
	if n.defined {
		list = append(list, defined{slices.Clone(path), int(n.offset)})
	}
	if n.sub == nil {
		return list
	}
	for i := range n.sub.keys {
		k := &n.sub.keys[i]
		list = definitions(&k.node, append(path, k.name), list)
	}
	for i := range n.sub.elems {
		list = definitions(&n.sub.elems[i], path, list)
	}
	return list
}

// checkPlaces holds the scanner against the parser: every key that the parser saw has a place, in the same order, and
// what stands there is the key's last part.
func checkPlaces(t *testing.T, text string) {
	t.Helper()
	if text = strings.TrimLeft(text, "\ufeff"); !utf8.ValidString(text) {
		return // refused before the scanner sees it
	}
	root, end, reason := scan(text)
	if reason != "" {
		return // refused before the parser sees it
	}
	raw := make(map[string]any)
	meta, err := toml.Decode(text, &raw)
	if err != nil {
		return
	}
	if end != len(text) {
		t.Fatalf("the scanner stopped at %d of %d: %q", end, len(text), text[end:])
	}
	got := definitions(root, nil, nil)
	slices.SortFunc(got, func(a, b defined) int { return cmp.Compare(a.offset, b.offset) })
	keys := meta.Keys()
	for i := range min(len(got), len(keys)) {
		if !slices.Equal(got[i].path, keys[i]) {
			t.Fatalf("key %d is %q, the parser has %q", i, got[i].path, keys[i])
		}
		at := scanner{text: text, pos: got[i].offset}
		at.part()
		written := text[got[i].offset:at.pos]
		var one map[string]int
		if _, err := toml.Decode(written+" = 1", &one); err != nil {
			t.Fatalf("key %q: at its place stands %q: %v", keys[i], written, err)
		}
		if _, ok := one[keys[i][len(keys[i])-1]]; !ok {
			t.Fatalf("key %q: at its place stands %q", keys[i], written)
		}
	}
	if len(got) != len(keys) {
		t.Fatalf("%d keys, the parser has %d", len(got), len(keys))
	}
	checkShape(t, root, raw, nil)
}

// checkShape holds the tree of places against the values: every table key and every array element has a node.
func checkShape(t *testing.T, n *node, raw any, path []string) {
	t.Helper()
	if n == nil {
		t.Fatalf("no place for %q", path)
	}
	switch v := raw.(type) {
	case map[string]any:
		for key, value := range v {
			checkShape(t, n.child(key), value, append(path, key))
		}
	case []map[string]any:
		for i, value := range v {
			checkShape(t, n.element(i), value, append(path, fmt.Sprint(i)))
		}
	case []any:
		if n.element(len(v)) != nil {
			t.Fatalf("%q has more than %d elements", path, len(v))
		}
		for i, value := range v {
			checkShape(t, n.element(i), value, append(path, fmt.Sprint(i)))
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, text := range []string{
		"a = 1\n[b]\nc.d = {e = [1, {f = 2}]}\n[[g]]\nh = \"\"\"x\"\"\"\"\"\n[[g]]\nh = '''y'''''\n",
		"\"q.r\".'s' = \"\\\"\" # c\r\n[ \"q.r\" . t ]\r\n",
		"a = [\n 1, # x ]\n [ 'z' ],\n]\nb = {c = 1,\n # d\n d = 2,}",
		"a.b = 1\na.c = 2\n[d.e]\n[d]\nf = 1979-05-27 07:32:00\n",
		"\"\" = 1\n[x]\n'' = {'' = 2}\n\"\\x41\\e\\U0001F600\" = 1",
		"a = \"\"\"\\\"\"\"\"\"\"\nb = '\\'\nc = \"\\\\\"\n",
		"x = [[{a = 1}], {b.c = 2}]\n[[y.z]]\n[y.z.w]\n[[y.z]]\n",
		"a = [1,,2]\nb = {,}\n= 3\n[]",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkPlaces(t, text) })
}

func TestScanLimits(t *testing.T) {
	for name, text := range map[string]string{
		"arrays":        "a = " + strings.Repeat("[", 1<<16),
		"inline tables": strings.Repeat("a = {", 1<<16),
		"dotted key":    strings.Repeat("a.", 1<<16) + "a = 1",
		"header":        "[" + strings.Repeat("a.", 1<<16) + "a]",
		"long key":      strings.Repeat("a", 1<<16) + " = 1",
		"long header":   "[" + strings.Repeat("a", 1<<16) + "]\nb = 1",
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, reason := scan(text); reason == "" {
				t.Error("not refused")
			}
		})
	}
	deepest := "a = " + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1)
	if _, end, reason := scan(deepest); reason != "" || end != len(deepest) {
		t.Errorf("refused at %d: %s", end, reason)
	}
}

func TestLines(t *testing.T) {
	const text = "é1\n\n\tx"
	l := newLines(text)
	for offset, want := range map[int][2]int{-1: {1, 1}, 0: {1, 1}, 2: {1, 2}, 3: {1, 3}, 4: {2, 1}, 5: {3, 1}, 6: {3, 2}, 99: {3, 3}} {
		if line, column := l.at(text, offset); line != want[0] || column != want[1] {
			t.Errorf("offset %d: %d:%d, not %d:%d", offset, line, column, want[0], want[1])
		}
	}
}
