package process

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"

	"github.com/rtflow/pipelined/internal/safefile"
)

// CheckExecutable returns an error unless path is that of an executable file.
func CheckExecutable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, withoutPath(err))
	}
	return checkMode(path, info)
}

func checkMode(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is no executable file", path)
	}
	return nil
}

// open checks the executable before it is started. One with a checksum is returned open: the process is started from the
// file that was compared, even if the path names another one by then. Without a checksum the file is nil.
func (s *Spec) open() (*os.File, error) {
	path := s.Command[0]
	if err := s.checkFile(); err != nil || s.SHA256 == "" {
		return nil, err
	}
	want, err := hex.DecodeString(s.SHA256)
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

// checkFile returns an error unless the executable is one that nobody but root and the daemon's user can replace: whoever
// replaces it has the rights of the daemon's user.
func (s *Spec) checkFile() error {
	path := s.Command[0]
	if err := CheckExecutable(path); err != nil || s.Shared {
		return err
	}
	err := safefile.CheckExecutable(path)
	if _, ok := errors.AsType[*safefile.UnsafeError](err); ok {
		return fmt.Errorf("%s is not started: %w, who could replace it: give it to root or to the daemon's user (chown, chmod go-w), or set %s = true",
			path, err, s.Key("shared_directory"))
	}
	return err
}

func compare(path string, f *os.File, want []byte) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := checkMode(path, info); err != nil {
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

// cmd returns the command to start. An executable with a checksum is started from its open file, which stays open in the
// process: the interpreter of a script opens it by that name.
func (s *Spec) cmd(pinned *os.File) *exec.Cmd {
	cmd := exec.Command(s.Command[0], s.Command[1:]...)
	if pinned != nil {
		cmd.Path, cmd.ExtraFiles = inherited, []*os.File{pinned}
	}
	return cmd
}

// withoutPath returns what a file operation failed with, without the path.
func withoutPath(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
