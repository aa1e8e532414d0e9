package config

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/table"
)

// document is one TOML text that was parsed.
type document struct {
	file     string
	text     string
	lines    lines // of the text; nil until a place is asked for
	problems *Problems
	types    table.Types
	misread  table.Misread // by path
}

// parse reads a text and returns its top-level table. Of a text that cannot be read the table is empty and the reason is
// among the problems.
func parse(file, text string, problems *Problems) *Section {
	problems.files = append(problems.files, file)
	text = strings.TrimLeft(text, "\ufeff") // the byte order mark
	d := &document{file: file, text: text, problems: problems, misread: make(table.Misread)}
	s := &Section{doc: d}
	if !utf8.ValidString(text) {
		d.report(cursor{offset: validPrefix(text)}, Error, "not UTF-8")
		return s
	}
	root, offset, reason := scan(text)
	if reason != "" {
		d.report(cursor{offset: offset}, Error, reason)
		return s
	}
	err := guard(func() (err error) {
		_, err = toml.Decode(text, &s.values)
		return err
	})
	if err != nil {
		d.syntax(err)
		s.values = nil
		return s
	}
	s.at.node = root
	if len(text) > largeText {
		runtime.GC()
	}
	d.expand(s)
	return s
}

// largeText is the size in bytes from which on a text is worth collecting what the parser has left: four times as much memory
// as the tables take. The heap would grow to twice of all that before the collector ran by itself.
const largeText = 1 << 20

// guard calls the parser. It panics where it finds a mistake of its own: a reload must not stop a running daemon for
// that.
func guard(parse func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the TOML parser failed: %v", r)
		}
	}()
	return parse()
}

// syntax records the parser's error at its place.
func (d *document) syntax(err error) {
	var e toml.ParseError
	if !errors.As(err, &e) {
		d.problems.add(Problem{File: d.file, Message: quoted.ReplaceAllStringFunc(err.Error(), withoutValue)})
		return
	}
	message := strings.NewReplacer(`'\x00'`, "end of file", `'\n'`, "end of line").Replace(e.Message)
	if strings.Contains(message, "hexadecimal digits after") || d.isSecret(&e) { // the first quotes a whole string
		message = quoted.ReplaceAllStringFunc(message, withoutValue)
	}
	// Position.Line is that of the end of the token; the offset is that of its start.
	d.report(cursor{offset: e.Position.Start}, Error, message)
}

// isSecret reports whether what a mistake of syntax quotes may be the value of a key that is not to be shown, or a part of it. That key is the
// last one that the parser has understood, or the first word of the line.
func (d *document) isSecret(e *toml.ParseError) bool {
	start := min(e.Position.Start, len(d.text))
	line := d.text[strings.LastIndexByte(d.text[:start], '\n')+1:]
	first := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n=:", r) })
	return keypath.Secret(e.LastKey) || len(first) > 0 && keypath.Secret(first[0])
}

// quoted is what a message of the parser quotes.
var quoted = regexp.MustCompile(`'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"`)

// withoutValue returns what stands for a quoted piece, unless it is punctuation, which the parser has expected.
func withoutValue(piece string) string {
	if strings.ContainsFunc(piece, func(r rune) bool { return r >= utf8.RuneSelf || unicode.IsLetter(r) || unicode.IsDigit(r) }) && !isEscape(piece) {
		return "something else"
	}
	return piece
}

// isEscape reports whether a quoted piece is the beginning of an escape sequence.
func isEscape(piece string) bool { return piece == `'\x'` || piece == `'\u'` || piece == `'\U'` }

// report records a problem at a key.
func (d *document) report(at cursor, severity Severity, message string) {
	p := Problem{File: d.file, Key: at.path, Message: message, Severity: severity}
	if !d.problems.full(severity) {
		p.Line, p.Column = d.lineAt(at.offset)
	}
	d.problems.add(p)
}

// lineAt returns the line and column of an offset.
func (d *document) lineAt(offset int) (line, column int) {
	if d.lines == nil {
		d.lines = newLines(d.text)
	}
	return d.lines.at(d.text, offset)
}

// hint returns what may follow "unknown …", see [spelling.Hint]. It costs nothing once no more problems are kept.
func (d *document) hint(name, plural string, valid []string) string {
	if d.problems.full(Error) {
		return ""
	}
	return spelling.Hint(name, plural, valid)
}

// validPrefix returns the offset of the first byte that is not UTF-8.
func validPrefix(text string) int {
	for i, r := range text {
		if r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd") {
			return i
		}
	}
	return len(text)
}
