package config

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/memory"
)

// sizeLimit is how many bytes the files of a configuration may have together.
type sizeLimit struct {
	bytes  int64
	reason string // why not more
}

const (
	// memoryPerByte is how much memory a byte of a file takes while it is read. Rule bases of 100,000 policies and sets of a
	// million addresses take 22 to 27 bytes, their hook included.
	memoryPerByte = 32
	// alwaysRead is how large a configuration may be however little memory is left.
	alwaysRead = 1 << 20
	// maxSize is what the offsets of keys can tell apart, see [node].
	maxSize = math.MaxUint32
)

// limitFor returns the limit for the memory that is left.
func limitFor(left memory.Left) sizeLimit {
	if left.Bytes/memoryPerByte >= maxSize {
		return sizeLimit{maxSize, "places in a file are numbers of 32 bits"}
	}
	return sizeLimit{max(left.Bytes/memoryPerByte, alwaysRead), fmt.Sprintf(
		"reading takes %d times as much memory, and %s leaves %d MiB", memoryPerByte, left.Limit, left.Bytes>>20)}
}

// dropIn is what follows the file's name in that of its drop-in directory.
const dropIn = ".d"

// Load reads pipeline.toml and, if there is a directory pipeline.toml.d beside it, every *.toml in that, in the order of
// their names. A name that begins with a dot is not read: editors leave such files. The files are one configuration:
// each table, and each component and zone, stands in one of them only. The File is never nil.
func Load(path string) (*File, *Problems) {
	problems := new(Problems)
	t := newTables()
	t.limit = limitFor(memory.Available())
	t.load(path, problems)
	files, err := dropIns(path + dropIn)
	if err != nil {
		t.parsed = false
		problems.add(Problem{File: path + dropIn, Message: err.Error()})
	}
	for _, file := range files {
		t.loadDropIn(file, problems)
	}
	return t.file(), problems
}

// Fingerprint tells contents of the files that Load would read apart, and their names. It is an error if one cannot be read a second time.
func Fingerprint(path string) (f [sha256.Size]byte, err error) {
	files, err := dropIns(path + dropIn)
	if err != nil {
		return f, err
	}
	h := sha256.New()
	for _, name := range append([]string{path}, files...) {
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
			return f, cmp.Or(err, errNotRegular)
		}
		file, err := os.Open(name)
		if err != nil {
			return f, err
		}
		fmt.Fprintf(h, "%q ", name)
		n, err := io.Copy(h, file)
		if err = errors.Join(err, file.Close()); err != nil {
			return f, err
		}
		fmt.Fprintf(h, " %d ", n)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// Stamp differs whenever the files that Load would read have been written, replaced, added or removed, and does not read them. See
// [Fingerprint] for whether that has made another configuration of them.
func Stamp(path string) (stamp [sha256.Size]byte) {
	h := sha256.New()
	files, err := dropIns(path + dropIn)
	if err != nil {
		fmt.Fprint(h, err)
	}
	for _, name := range append([]string{path}, files...) {
		var s unix.Stat_t
		err := unix.Stat(name, &s)
		fmt.Fprintf(h, "%q %v %d %d %d %v %v ", name, err, s.Dev, s.Ino, s.Size, s.Mtim, s.Ctim)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

var errNotRegular = errors.New("is no regular file")

// Dirs returns the directories in which something changes when another configuration is to be read at path. They need not be there.
func Dirs(path string) []string {
	dirs := []string{filepath.Dir(path), path + dropIn}
	if file, err := filepath.EvalSymlinks(path); err == nil && filepath.Dir(file) != dirs[0] {
		dirs = append(dirs, filepath.Dir(file))
	}
	return dirs
}

// LoadText reads a configuration that is in memory. name stands in the places of its problems.
func LoadText(name string, data []byte) (*File, *Problems) {
	problems := new(Problems)
	t := newTables()
	t.add(name, string(data), problems)
	return t.file(), problems
}

// load reads a file and takes its tables.
func (t *tables) load(path string, problems *Problems) {
	text, err := read(path, t.limit.bytes-t.size)
	if errors.Is(err, errLarge) {
		err = fmt.Errorf("the configuration is larger than %d MiB: %s", t.limit.bytes>>20, t.limit.reason)
	}
	if err != nil {
		t.unreadable(path, err, problems)
		return
	}
	t.size += int64(len(text))
	t.add(path, text, problems)
}

// loadDropIn is load for a file that lies in a directory. A FIFO or a device is not waited for: nobody has asked for it by name.
func (t *tables) loadDropIn(path string, problems *Problems) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		t.unreadable(path, errNotRegular, problems)
		return
	}
	t.load(path, problems)
}

func (t *tables) unreadable(path string, err error, problems *Problems) {
	t.files = append(t.files, path)
	t.parsed = false
	problems.files = append(problems.files, path)
	problems.add(Problem{File: path, Message: err.Error()})
}

var errLarge = errors.New("the file is too large")

// read returns the content of a file of at most so many bytes, errLarge if it has more.
func read(path string, most int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", reason(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	var b strings.Builder
	if info, err := f.Stat(); err == nil {
		if info.IsDir() {
			return "", errors.New("is a directory, not a file")
		}
		b.Grow(int(min(info.Size(), most)))
	}
	if _, err := io.Copy(&b, io.LimitReader(f, most+1)); err != nil {
		return "", reason(err)
	}
	if int64(b.Len()) > most {
		return "", errLarge
	}
	return b.String(), nil
}

// dropIns lists the files of a drop-in directory, none if there is no such directory.
func dropIns(dir string) (files []string, err error) {
	entries, err := os.ReadDir(dir) // sorted by name
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, reason(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".toml") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

// reason takes the path out of an error: it stands in front of the problem already.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("cannot be read: %w", e.Err)
	}
	return fmt.Errorf("cannot be read: %w", err)
}
