package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxSize is the largest file that is read, in bytes: what is parsed takes several times as much memory.
const maxSize = 256 << 20

// dropIn is what follows the file's name in that of its drop-in directory.
const dropIn = ".d"

// Load reads pipeline.toml and, if there is a directory pipeline.toml.d beside it, every *.toml in that, in the order of
// their names. A name that begins with a dot is not read: editors leave such files. The files are one configuration:
// each table, and each component and zone, stands in one of them only. The File is never nil.
func Load(path string) (*File, *Problems) {
	problems := new(Problems)
	t := newTables()
	t.load(path, problems)
	files, err := dropIns(path + dropIn)
	if err != nil {
		t.parsed = false
		problems.add(Problem{File: path + dropIn, Message: err.Error()})
	}
	for _, file := range files {
		t.load(file, problems)
	}
	return t.file(), problems
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
	text, err := read(path, t.maxSize)
	if err != nil {
		t.files = append(t.files, path)
		t.parsed = false
		problems.files = append(problems.files, path)
		problems.add(Problem{File: path, Message: err.Error()})
		return
	}
	t.add(path, text, problems)
}

// read returns the content of a file of at most so many bytes.
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
		return "", fmt.Errorf("larger than %d MiB", most>>20)
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
