package statedir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	keptFile   = "kept"
	takenFile  = "kept.taken"
	unusedFile = "kept.unused"
)

// Kept is what the last run has kept. It is used by one goroutine.
type Kept struct {
	dir  *Dir
	file *os.File
}

// WriteKept replaces what is kept for the next run by what fill writes. When it returns without an error, that is on the disk.
func (d *Dir) WriteKept(fill func(w *FrameWriter) error) error {
	return d.replace(keptFile, func(f *os.File) error { return WriteFrames(f, fill) })
}

// Kept opens what the last run has kept, nil if there is nothing. What a run has taken that did not come to an end is removed: it must
// not be used again. The caller reads it, and either takes it or puts it aside, and closes it.
func (d *Dir) Kept() (*Kept, error) {
	if err := d.dir.Remove(takenFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := d.dir.Open(keptFile, os.O_RDONLY)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO): // a symbolic link, a socket or a device
		return nil, d.putAside(fmt.Errorf("%w: %w", errUnusable, err))
	case err != nil:
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		return nil, errors.Join(d.putAside(fmt.Errorf("%w: %s, want a regular file", errUnusable, info.Mode().Type())), f.Close())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Kept{dir: d, file: f}, nil
}

// Frames calls each with the frames, from the first on, see [ReadFrames].
func (k *Kept) Frames(each func(kind uint8, payload []byte) error) error {
	if _, err := k.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return ReadFrames(k.file, each)
}

// Take makes sure that no other run uses what is kept: from then on this run may. It can still be read.
func (k *Kept) Take() error {
	if err := k.dir.dir.Rename(keptFile, takenFile); err != nil {
		return err
	}
	return k.dir.dir.Sync()
}

// PutBack undoes Take, for a run that has used nothing of it.
func (k *Kept) PutBack() error { return k.dir.dir.Rename(takenFile, keptFile) }

// PutAside gives what is kept another name and warns of it: why says what it cannot be used for.
func (k *Kept) PutAside(why error) error { return k.dir.putAside(why) }

func (d *Dir) putAside(why error) error {
	if err := d.dir.Rename(keptFile, unusedFile); err != nil {
		return errors.Join(why, err)
	}
	d.warn("what the last run has kept cannot be used and is put aside", "file", d.dir.Path(keptFile), "as", unusedFile, "err", why)
	return nil
}

// Close closes the file, and removes it if it was taken.
func (k *Kept) Close() error {
	err := k.file.Close()
	if removeErr := k.dir.dir.Remove(takenFile); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return err
}

// Boot returns what names the time since the kernel was started, in which times of the monotonic clock compare: a time namespace of a
// container has another clock, by an offset.
func Boot() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("what boot this is cannot be read: %w", err)
	}
	offsets, err := os.ReadFile("/proc/self/timens_offsets")
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // then the kernel has no time namespaces
		return "", fmt.Errorf("which time namespace this is cannot be read: %w", err)
	}
	return boot(strings.TrimSpace(string(id)), string(offsets)), nil
}

// boot names a boot and what a time namespace adds to its clock, which /proc/self/timens_offsets has in seconds and nanoseconds. The number of the
// namespace names no clock: the kernel gives it to the next one when a container is restarted.
func boot(id, offsets string) string {
	for line := range strings.Lines(offsets) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "monotonic" && (f[1] != "0" || f[2] != "0") {
			return id + " " + f[1] + " " + f[2]
		}
	}
	return id
}
