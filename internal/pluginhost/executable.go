package pluginhost

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/rtflow/pipelined/internal/safefile"
)

// open looks at the executable once more before it is started. A pinned one is returned open: what was compared with the checksum is
// what has to be started, whatever the name stands for by then. Another one is nil.
func (o *options) open() (*os.File, error) {
	path := o.command[0]
	if err := o.executable(); err != nil || o.SHA256 == "" {
		return nil, err
	}
	want, err := hex.DecodeString(o.SHA256)
	if err != nil || len(want) != sha256.Size {
		return nil, errors.New("must be the 64 hexadecimal digits that sha256sum prints")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := compare(path, f, want); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// executable says what is wrong with the file to start: it is none, or somebody else could replace it, who would have the rights of the
// daemon's user then.
func (o *options) executable() error {
	path := o.command[0]
	if err := executable(path); err != nil || o.Shared {
		return err
	}
	err := safefile.CheckExecutable(path)
	if _, ok := errors.AsType[*safefile.UnsafeError](err); ok {
		return fmt.Errorf("%s is not started: %w, who could replace it: give it to root or to the daemon's user (chown, chmod go-w), or set %s = true",
			path, err, o.key("shared_directory"))
	}
	return err
}

func compare(path string, f *os.File, want []byte) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := startable(path, info); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if sum := h.Sum(nil); !bytes.Equal(sum, want) {
		return fmt.Errorf("%s is another file: its SHA-256 is %x", path, sum)
	}
	return nil
}

// inherited is the file that the process inherits beside the three standard ones, as the process itself names it.
const inherited = "/proc/self/fd/3"

// cmd returns the command to start. A pinned executable is started from its open file, which stays open in the process: the interpreter
// of a script opens it by that name.
func (o *options) cmd(pinned *os.File) *exec.Cmd {
	cmd := exec.Command(o.command[0], o.command[1:]...)
	if pinned != nil {
		cmd.Path, cmd.ExtraFiles = inherited, []*os.File{pinned}
	}
	return cmd
}
