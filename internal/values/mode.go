package values

import (
	"fmt"
	"io/fs"
	"strconv"

	"github.com/rtflow/pipelined/internal/spelling"
)

// Mode is the permission bits of a file or socket, a string in octal: "0640".
type Mode fs.FileMode

// UnmarshalTOML takes strings only: of a number nobody can tell whether its author meant it to be octal.
func (m *Mode) UnmarshalTOML(value any) error {
	text, ok := value.(string)
	v, err := strconv.ParseUint(text, 8, 32)
	switch {
	case !ok:
		return fmt.Errorf(`want permission bits as a string such as "0660", got %v`, value)
	case err != nil || v > 0o777:
		return fmt.Errorf(`want permission bits as a string such as "0660", got %s`, spelling.Shorten(text))
	}
	*m = Mode(v)
	return nil
}
