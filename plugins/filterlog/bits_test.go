package filterlog

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestBitExpressions(t *testing.T) {
	const fin, syn, rst, push, ack, urg = 1, 2, 4, 8, 16, 32
	for text, want := range map[any]func(v int) bool{
		"syn":                  func(v int) bool { return v&syn != 0 },
		"!syn":                 func(v int) bool { return v&syn == 0 },
		"!!syn":                func(v int) bool { return v&syn != 0 },
		"(!ack & syn)":         func(v int) bool { return v&(syn|ack) == syn },
		"ack|rst":              func(v int) bool { return v&(ack|rst) != 0 },
		"fin, urgent":          func(v int) bool { return v&(fin|urg) != 0 },
		"push + ack":           func(v int) bool { return v&push != 0 && v&ack != 0 },
		"syn & !ack | rst":     func(v int) bool { return v&syn != 0 && v&ack == 0 || v&rst != 0 },
		"rst | syn & !ack":     func(v int) bool { return v&syn != 0 && v&ack == 0 || v&rst != 0 },
		"!(syn & !ack) | rst":  func(v int) bool { return !(v&syn != 0 && v&ack == 0) || v&rst != 0 },
		"( ( fin ) ) & 0x30":   func(v int) bool { return v&fin != 0 && v&(ack|urg) == ack|urg },
		"18":                   func(v int) bool { return v&(syn|ack) == syn|ack },
		int64(3):               func(v int) bool { return v&3 == 3 },
		"  syn\t&(ack)  ":      func(v int) bool { return v&syn != 0 && v&ack != 0 },
		"fin&syn&rst,push&ack": func(v int) bool { return v&7 == 7 || v&24 == 24 },
	} {
		set, err := tcpFlagField.parse(text)
		if err != nil {
			t.Errorf("%v: %v", text, err)
			continue
		}
		for v := range 64 {
			if got := set>>v&1 == 1; got != want(v) {
				t.Errorf("%v: for %#x got %v", text, v, got)
			}
		}
	}
}

func TestBitMistakes(t *testing.T) {
	for text, want := range map[any]string{
		"":                              "a TCP flag is missing",
		"syn &":                         "a TCP flag is missing",
		"& syn":                         "a TCP flag is missing",
		"(syn":                          "missing )",
		"syn)":                          `unexpected ")"`,
		"syn ack":                       `unexpected "ack"`,
		"sin":                           `unknown TCP flag "sin"; did you mean "fin"?`,
		"0x40":                          "its bits must be in 0x3f",
		"0":                             "its bits must be in 0x3f",
		int64(-1):                       "its bits must be in 0x3f",
		true:                            "are a string",
		strings.Repeat("!", 60) + "syn": "more than 50 levels",
		strings.Repeat("(", 501):        "at most 500 characters",
	} {
		if _, err := tcpFlagField.parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %s", text, err, want)
		}
	}
	if _, err := fragFlagField.parse("0x2001"); err == nil {
		t.Error("a fragment flag below the flags is accepted")
	}
}

// TestRandomBitExpressions writes random trees as text, with few parentheses, and compares what is read with the tree.
func TestRandomBitExpressions(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	for range 3000 {
		text, _, eval := randomExpression(rng, 4)
		if len(text) > maxExpression {
			continue
		}
		set, err := tcpFlagField.parse(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for v := range 64 {
			if got := set>>v&1 == 1; got != eval(v) {
				t.Fatalf("%q: for %#x got %v", text, v, got)
			}
		}
	}
}

// randomExpression returns an expression, how tight it binds (0 or, 1 and, 2 operand), and its meaning.
func randomExpression(rng *rand.Rand, depth int) (string, int, func(int) bool) {
	within := func(level int) (string, func(int) bool) {
		text, tight, eval := randomExpression(rng, depth-1)
		if tight < level || rng.IntN(5) == 0 {
			text = "(" + text + ")"
		}
		return text, eval
	}
	kind := rng.IntN(5)
	if depth == 0 {
		kind = rng.IntN(2)
	}
	switch kind {
	case 0:
		i := rng.IntN(6)
		return tcpFlagNames[i], 2, func(v int) bool { return v>>i&1 == 1 }
	case 1:
		n := 1 + rng.IntN(63)
		return fmt.Sprintf("%#x", n), 2, func(v int) bool { return v&n == n }
	case 2:
		text, eval := within(2)
		return "!" + text, 2, func(v int) bool { return !eval(v) }
	case 3:
		l, le := within(1)
		r, re := within(2)
		return l + pick(rng, []string{"&", " + ", " & "}) + r, 1, func(v int) bool { return le(v) && re(v) }
	default:
		l, le := within(0)
		r, re := within(1)
		return l + pick(rng, []string{"|", ", ", " | "}) + r, 0, func(v int) bool { return le(v) || re(v) }
	}
}

// FuzzTCPFlags: no text makes a panic, and what is read obeys the laws of logic.
func FuzzTCPFlags(f *testing.F) {
	for _, s := range []string{"syn & !ack", "(fin|syn), 0x3f", "!!!urgent", "((", "ack+push | 1", "\x00", "syn ,, ack"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := tcpFlagField.parse(text)
		if err != nil {
			return
		}
		if len(text) > maxExpression-10 {
			return
		}
		not, err := tcpFlagField.parse("!(" + text + ")")
		if err != nil {
			if strings.Contains(err.Error(), "levels") {
				return
			}
			t.Fatalf("%q can be read and not be negated: %v", text, err)
		}
		if set^not != tcpFlagField.all() {
			t.Errorf("%q is %#x, its negation %#x", text, set, not)
		}
		if both, err := tcpFlagField.parse("(" + text + ")|!(" + text + ")"); err == nil && both != tcpFlagField.all() {
			t.Errorf("%q or its negation is %#x", text, both)
		}
	})
}
