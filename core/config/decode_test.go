package config

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// port decodes itself from a number or a name.
type port uint16

func (p *port) UnmarshalText(text []byte) error {
	switch string(text) {
	case "ntp", "123":
		*p = 123
		return nil
	}
	return errors.New("no such port")
}

// pair decodes itself from any value.
type pair struct{ low, high int64 }

func (p *pair) UnmarshalTOML(value any) error {
	list, ok := value.([]any)
	if !ok || len(list) != 2 {
		return errors.New("must be two numbers")
	}
	p.low, _ = list[0].(int64)
	p.high, _ = list[1].(int64)
	return nil
}

type common struct {
	Shared string `toml:"shared"`
	Bool   string `toml:"bool"` // hidden by that of everything
}

type Optional struct {
	Maybe string `toml:"maybe"`
}

type everything struct {
	common
	*Optional
	Bool     bool              `toml:"bool"`
	Int8     int8              `toml:"int8"`
	Int      int               `toml:"int"`
	Uint16   uint16            `toml:"uint16"`
	Uint64   uint64            `toml:"uint64"`
	Float    float64           `toml:"float"`
	Float32  float32           `toml:"float32"`
	String   string            `toml:"string"`
	Duration time.Duration     `toml:"duration"`
	Port     port              `toml:"port"`
	Pair     pair              `toml:"pair"`
	Addr     netip.Addr        `toml:"addr"`
	When     time.Time         `toml:"when"`
	Any      any               `toml:"any"`
	Pointer  *int              `toml:"pointer"`
	Strings  []string          `toml:"strings"`
	Ints     []int             `toml:"ints"`
	Ports    []*port           `toml:"ports"`
	Matrix   [][]int           `toml:"matrix"`
	Nested   nested            `toml:"nested"`
	NestedP  *nested           `toml:"nested-p"`
	List     []nested          `toml:"list"`
	Map      map[string]int    `toml:"map"`
	Tables   map[string]nested `toml:"tables"`
	Ignored  string            `toml:"-"`
	Untagged string
	hidden   string `toml:"hidden"` //nolint:unused // must not be settable
}

type nested struct {
	A int    `toml:"a"`
	B string `toml:"b,omitempty"`
}

func TestDecodeValues(t *testing.T) {
	const text = `
shared = "s"
maybe = "m"
bool = true
int8 = -128
int = 9223372036854775807
uint16 = 65_535
uint64 = 0x10
float = 3
float32 = 1.5
string = "text"
duration = "1m30s"
port = 123
pair = [1, 2]
addr = "192.0.2.1"
when = 2024-01-02T03:04:05Z
any = { x = [1] }
pointer = 7
strings = "one"
ints = [1, 2]
ports = ["ntp"]
matrix = [[1], [2, 3]]
nested = { a = 1 }
nested-p.b = "x"
list = [{ a = 1 }, { b = "y" }]
map = { one = 1, "t.wo" = 2 }
[tables.x]
b = "z"
`
	s, problems := ParseTable("x.toml", []byte(text))
	// What the table does not set keeps its value, also inside of nested tables and maps.
	got := everything{
		Nested: nested{A: 9, B: "kept"}, Strings: []string{"a", "b"},
		Map: map[string]int{"zero": 0}, Tables: map[string]nested{"x": {A: 5}},
	}
	if !s.Decode(&got) {
		t.Fatal(problems.Err())
	}
	ntp := port(123)
	seven := 7
	want := everything{
		common: common{Shared: "s"}, Optional: &Optional{Maybe: "m"},
		Bool: true, Int8: -128, Int: 9223372036854775807, Uint16: 65535, Uint64: 16, Float: 3, Float32: 1.5, String: "text",
		Duration: 90 * time.Second, Port: 123, Pair: pair{1, 2}, Addr: netip.MustParseAddr("192.0.2.1"),
		When: time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC), Any: map[string]any{"x": []any{int64(1)}}, Pointer: &seven,
		Strings: []string{"one"}, Ints: []int{1, 2}, Ports: []*port{&ntp}, Matrix: [][]int{{1}, {2, 3}},
		Nested: nested{A: 1, B: "kept"}, NestedP: &nested{B: "x"}, List: []nested{{A: 1}, {B: "y"}},
		Map: map[string]int{"zero": 0, "one": 1, "t.wo": 2}, Tables: map[string]nested{"x": {A: 5, B: "z"}},
	}
	exported := gocmp.AllowUnexported(everything{}, pair{})
	equal := gocmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := gocmp.Diff(want, got, exported, equal); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

func TestDecodeMistakes(t *testing.T) {
	const text = `bool = "yes"
int8 = 128
int = 1.5
uint16 = -1
uint64 = -1
float = "1"
float32 = 1e300
string = 1
duration = 5
port = "nope"
pair = 3
addr = [1]
when = "soon"
pointer = "x"
strings = [1, "a", true]
ints = "x"
ports = ["ntp", "x", 123]
matrix = [[1], 2, ["x"]]
nested = 1
nested-p = { a = "x", c = 1 }
list = { a = 1 }
map = { one = "1", two = 2, three = 3.0 }
Bool = true
Untagged = "x"
hidden = "x"
strngs = []
"sp ace" = 1
[tables]
x = 1
y.a = "1"
`
	s, problems := ParseTable("x.toml", []byte(text))
	var got everything
	if s.Decode(&got) {
		t.Error("Decode found no mistake")
	}
	all := "the keys are: addr, any, bool, duration, float, float32, int, int8, ints, list, map, matrix, maybe, " +
		"nested, nested-p, pair, pointer, port, ports, shared, string, strings, tables, uint16, uint64, when"
	wantProblems(t, problems,
		`1:1: bool: must be true or false, not the string "yes"`,
		`2:1: int8: must be an integer from -128 to 127, not 128`,
		`3:1: int: must be an integer, not 1.5`,
		`4:1: uint16: must be an integer from 0 to 65535, not -1`,
		`5:1: uint64: must be an integer from 0 to 18446744073709551615, not -1`,
		`6:1: float: must be a number, not the string "1"`,
		`7:1: float32: 1e+300 is out of range for float32`,
		`8:1: string: must be a string, not 1`,
		`9:1: duration: must be a duration such as "5s" or "10m", not 5`,
		`10:1: port: no such port`,
		`11:1: pair: must be two numbers`,
		`12:1: addr: must be a string, not an array`,
		`13:1: when: must be a date or time, not the string "soon"`,
		`14:1: pointer: must be an integer, not the string "x"`,
		`15:12: strings[0]: must be a string, not 1`,
		`15:20: strings[2]: must be a string, not true`,
		`16:1: ints: must be an integer, not the string "x"`,
		`17:17: ports[1]: no such port`,
		`18:20: matrix[2][0]: must be an integer, not the string "x"`,
		`19:1: nested: must be a table, not 1`,
		`20:14: nested-p.a: must be an integer, not the string "x"`,
		`20:23: nested-p.c: unknown key; the keys are: a, b`,
		`21:1: list: must be an array of tables, not a table`,
		`22:9: map.one: must be an integer, not the string "1"`,
		`22:29: map.three: must be an integer, not 3`,
		`23:1: Bool: unknown key; did you mean "bool"?`,
		`24:1: Untagged: unknown key; `+all,
		`25:1: hidden: unknown key; `+all,
		`26:1: strngs: unknown key; did you mean "strings"?`,
		`27:1: "sp ace": unknown key; `+all,
		`29:1: tables.x: must be a table, not 1`,
		`30:3: tables.y.a: must be an integer, not the string "1"`,
	)
	if got.Pointer != nil {
		t.Error("a pointer was set to a value that is wrong")
	}
}

func TestDecodeLists(t *testing.T) {
	s, problems := ParseTable("x.toml", []byte("matrix = 2\nlist = [1, {a = 2}]\nrows = {a = [1, 'x']}"))
	var got struct {
		Matrix [][]int          `toml:"matrix"`
		List   []*nested        `toml:"list"`
		Rows   map[string][]int `toml:"rows"`
	}
	s.Decode(&got)
	wantProblems(t, problems,
		"1:1: matrix: must be an array of arrays, not 2",
		"2:9: list[0]: must be a table, not 1",
		`3:17: rows.a[1]: must be an integer, not the string "x"`,
	)
	if len(got.List) != 2 || got.List[0] != nil || got.List[1].A != 2 {
		t.Errorf("list %+v: an element that is wrong must be nil and leave the others alone", got.List)
	}
}

func TestDecodeKeepsPointer(t *testing.T) {
	s, problems := ParseTable("x.toml", []byte("p = {b = 'new'}"))
	got := struct {
		P *nested `toml:"p"`
	}{&nested{A: 1, B: "old"}}
	if !s.Decode(&got) || *got.P != (nested{A: 1, B: "new"}) {
		t.Errorf("decoded %+v: %v", got.P, problems.Err())
	}
}

func TestDecodeNeedsPointer(t *testing.T) {
	s, _ := ParseTable("x.toml", nil)
	for _, into := range []any{nil, everything{}, (*everything)(nil), new(int)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Decode(%T) did not panic", into)
				}
			}()
			s.Decode(into)
		}()
	}
}
