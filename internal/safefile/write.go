package safefile

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// WriteFile writes a file that a user has named, by an absolute path: as [os.WriteFile], but in a directory that others may
// write to it does not write to a file of another owner, to one with a second link, or where the link of another user
// leads. It does not wait for the other end of a FIFO.
func WriteFile(path string, content []byte, perm fs.FileMode) error {
	e, err := OpenParent(path, Options{Shared: true})
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }() // nothing was written
	f, err := e.OpenFile(unix.O_WRONLY)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = e.Create(e.Name, unix.O_WRONLY, perm)
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.Write(content)
	}
	return errors.Join(err, f.Close())
}
