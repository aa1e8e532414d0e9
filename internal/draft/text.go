package draft

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rtflow/pipelined/internal/survey"
)

// maxName is the length of the longest name of an interface, in bytes.
const maxName = 127

// writable reports whether a configuration can hold the name of an interface. The kernel takes names that are not UTF-8, and such
// with blanks beyond ASCII.
func writable(name string) bool {
	return name != "" && len(name) <= maxName && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsSpace) && !strings.Contains(name, "/")
}

// quote returns a string of TOML. A ${ in it is no environment variable.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ReplaceAll(s, "${", "$${") {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case !unicode.IsPrint(r) && r > 0xffff:
			fmt.Fprintf(&b, `\U%08X`, r)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// list returns an array of the names of interfaces.
func list(interfaces []survey.Interface) string {
	quoted := make([]string, len(interfaces))
	for n, i := range interfaces {
		quoted[n] = quote(i.Name)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// show returns a name for a text: as it is if it is plain, otherwise in quotes and ASCII.
func show(name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf || !unicode.IsPrint(r) || strings.ContainsRune(`"'\ `, r) }) {
		return strconv.QuoteToASCII(name)
	}
	return name
}

// comment returns a text that may stand in a comment.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// describe says in a line what an interface is.
func describe(i survey.Interface) string {
	var parts []string
	for n, a := range i.Addresses {
		if n == 3 {
			parts = append(parts, fmt.Sprintf("and %d more addresses", len(i.Addresses)-n))
			break
		}
		parts = append(parts, a.String())
	}
	switch {
	case i.VLAN > 0 && i.Parent != "":
		parts = append(parts, fmt.Sprintf("VLAN %d on %s", i.VLAN, show(i.Parent)))
	case i.Kind == "device" && i.Driver != "":
		parts = append(parts, i.Driver)
	case i.Kind == "device":
		parts = append(parts, "network card")
	default:
		parts = append(parts, i.Kind)
	}
	if i.Default {
		parts = append(parts, "default route")
	}
	if i.Routes == 1 {
		parts = append(parts, "1 more route")
	} else if i.Routes > 1 {
		parts = append(parts, fmt.Sprintf("%d more routes", i.Routes))
	}
	if i.VRF != "" {
		parts = append(parts, "VRF "+show(i.VRF))
	}
	switch {
	case !i.Up:
		parts = append(parts, "down")
	case !i.Carrier:
		parts = append(parts, "no carrier")
	}
	return comment(strings.Join(parts, ", "))
}
