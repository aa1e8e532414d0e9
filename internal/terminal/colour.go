package terminal

import (
	"os"

	"golang.org/x/term"
)

// Colours reports whether what is written to f may hold escape sequences for colours: f is a terminal that knows them, and
// the variable NO_COLOR is not set.
func Colours(f *os.File) bool {
	return coloured(term.IsTerminal(int(f.Fd())), os.Getenv)
}

func coloured(isTerminal bool, getenv func(string) string) bool {
	kind := getenv("TERM")
	return isTerminal && getenv("NO_COLOR") == "" && kind != "" && kind != "dumb"
}

// IsTerminal reports whether what is written goes to a terminal.
func (t *Writer) IsTerminal() bool {
	f, ok := t.w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
