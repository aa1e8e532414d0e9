package file

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rtflow/pipelined/internal/safefile"
)

// stamp is the time in the name of a rotated file: UTC, so that names sort by time also when the clocks change.
const stamp = "20060102T150405.000Z"

// retryRotation is how long to leave it after a rotation that failed; the file grows on meanwhile.
const retryRotation = time.Minute

// slotOf numbers the intervals since 1970-01-01T00:00Z: "daily" is a day in UTC. Without an interval there is only one.
func (l *logFile) slotOf(t time.Time) int64 {
	if l.rotate.Interval == 0 {
		return 0
	}
	return t.UnixNano() / int64(l.rotate.Interval)
}

// rotateNow gives the file its last name, begins a new one and deletes the oldest. A file that cannot be renamed is written on:
// a log that is too large is better than none.
func (l *logFile) rotateNow(now time.Time) error {
	if err := l.setAside(now); err != nil {
		l.warn("cannot rotate", "path", l.path, "error", err)
		l.rotateAfter = now.Add(retryRotation)
		return nil
	}
	if err := l.close(); err != nil {
		return err
	}
	if err := l.open(now); err != nil {
		return err
	}
	l.rotations.Add(1)
	l.prune(now)
	l.packSoon()
	return nil
}

// ahead is how far the clock may be set back until the names of rotated files begin to follow it. Until then they go on behind the newest,
// so that they sort by what is in them. A name that is further ahead of the clock is of a clock that was wrong.
const ahead = 24 * time.Hour

// setAside renames the file. The names are a millisecond apart: it never replaces another.
func (l *logFile) setAside(now time.Time) error {
	at := now
	if l.prunes() {
		l.learnNewest(now)
		if !at.After(l.newest) && !l.newest.After(now.Add(ahead)) {
			at = l.newest.Add(time.Millisecond)
		}
	}
	for ; ; at = at.Add(time.Millisecond) {
		name := rotatedName(l.at.Name, at)
		taken, err := exists(l.at.Dir, name+gzipped.suffix(), name+zstandard.suffix())
		if err != nil {
			return err
		}
		if taken {
			continue
		}
		if err := l.at.RenameNew(l.at.Name, name); !errors.Is(err, fs.ErrExist) {
			l.newest = at
			return err
		}
	}
}

// learnNewest finds the newest name of a rotated file of an earlier run, once. Names that are too far ahead do not count. A directory that
// cannot be read has none: prune says so.
func (l *logFile) learnNewest(now time.Time) {
	if !l.newest.IsZero() {
		return
	}
	files, _ := rotated(l.at)
	l.newest = now.Add(-time.Millisecond)
	for _, f := range files {
		if f.at.After(l.newest) && !f.at.After(now.Add(ahead)) {
			l.newest = f.at
		}
	}
}

// exists reports whether one of the names is taken.
func exists(dir *safefile.Dir, names ...string) (bool, error) {
	for _, name := range names {
		if taken, err := dir.Exists(name); taken || err != nil {
			return taken, err
		}
	}
	return false, nil
}

// rotatedName returns audit-20261124T030000.000Z.log for audit.log.
func rotatedName(name string, at time.Time) string {
	stem, ext := parts(name)
	return stem + "-" + at.UTC().Format(stamp) + ext
}

func parts(name string) (stem, ext string) {
	ext = filepath.Ext(name)
	if ext == name { // ".log" is a name, not an extension
		ext = ""
	}
	return strings.TrimSuffix(name, ext), ext
}

// pruneEvery is how often files are looked for that have become too old.
const pruneEvery = 10 * time.Minute

func (l *logFile) pruneIfDue(now time.Time) {
	if l.rotate.MaxAge != 0 && (now.Sub(l.pruned) >= pruneEvery || now.Before(l.pruned)) {
		l.prune(now)
	}
}

// prunes reports whether rotated files are deleted.
func (l *logFile) prunes() bool { return l.rotate.Keep != 0 || l.rotate.MaxAge != 0 }

// prune deletes all but the newest rotated files, and those that are too old. It touches only names that rotatedName makes,
// compressed or not.
func (l *logFile) prune(now time.Time) {
	l.pruned = now
	if !l.prunes() || !l.rotatable {
		return
	}
	files, err := rotated(l.at)
	wrong := func(f rotatedFile) int { // 0 for the name of a clock that was wrong: it is older than what was written since
		if f.at.After(now.Add(ahead)) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(files, func(a, b rotatedFile) int { return wrong(a) - wrong(b) })
	for i, f := range files {
		tooMany := l.rotate.Keep != 0 && i < len(files)-l.rotate.Keep
		tooOld := l.rotate.MaxAge != 0 && now.Sub(f.at) > time.Duration(l.rotate.MaxAge)
		if !tooMany && !tooOld {
			continue
		}
		for _, name := range f.names {
			if removeErr := l.at.Remove(name); !errors.Is(removeErr, fs.ErrNotExist) { // else it has just been compressed
				err = errors.Join(err, removeErr)
			}
		}
	}
	if err != nil {
		l.warn("cannot delete old files", "path", l.path, "error", err)
	}
}

// rotatedFile is a rotated file: its name, and that of its compressed form.
type rotatedFile struct {
	at    time.Time
	names []string
}

// rotated lists the rotated files of a file, the oldest first.
func rotated(log safefile.Entry) (files []rotatedFile, err error) {
	entries, err := log.ReadDir()
	if err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	for _, e := range entries {
		at, _, ok := rotatedAt(log.Name, e.Name())
		switch {
		case !ok || !e.Type().IsRegular():
		case len(files) > 0 && files[len(files)-1].at.Equal(at):
			last := &files[len(files)-1]
			last.names = append(last.names, e.Name())
		default:
			files = append(files, rotatedFile{at, []string{e.Name()}})
		}
	}
	slices.SortStableFunc(files, func(a, b rotatedFile) int { return a.at.Compare(b.at) })
	return files, nil
}

// rotatedAt reports whether a name is one that rotatedName makes of a file's, compressed or not, and the time in it.
func rotatedAt(file, name string) (at time.Time, packed compression, ok bool) {
	stem, ext := parts(file)
	text, ok := strings.CutPrefix(name, stem+"-")
	if !ok {
		return at, packed, false
	}
	for _, packed = range []compression{zstandard, gzipped, uncompressed} {
		text, ok := strings.CutSuffix(text, ext+packed.suffix())
		if !ok {
			continue
		}
		if at, err := time.Parse(stamp, text); err == nil {
			return at, packed, true
		}
	}
	return at, packed, false
}
