package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
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
	l.prune()
	return nil
}

// setAside renames the file. The names are a millisecond apart: it never replaces another.
func (l *logFile) setAside(now time.Time) error {
	for at := now; ; at = at.Add(time.Millisecond) {
		name := l.rotatedName(at)
		if _, err := os.Lstat(name); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.Rename(l.path, name)
	}
}

// rotatedName returns audit-20261124T030000.000Z.log for audit.log.
func (l *logFile) rotatedName(at time.Time) string {
	stem, ext := l.parts()
	return stem + "-" + at.UTC().Format(stamp) + ext
}

func (l *logFile) parts() (stem, ext string) {
	ext = filepath.Ext(l.path)
	if ext == filepath.Base(l.path) { // ".log" is a name, not an extension
		ext = ""
	}
	return strings.TrimSuffix(l.path, ext), ext
}

// prune deletes all but the newest rotated files. It touches only names that rotatedName makes.
func (l *logFile) prune() {
	if l.rotate.Keep == 0 {
		return
	}
	rotated, err := l.rotated()
	for _, name := range rotated[:max(0, len(rotated)-l.rotate.Keep)] {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		l.warn("cannot delete old files", "path", l.path, "error", err)
	}
}

// rotated lists the rotated files, the oldest first.
func (l *logFile) rotated() (names []string, err error) {
	entries, err := os.ReadDir(filepath.Dir(l.path))
	if err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	stem, ext := l.parts()
	for _, e := range entries {
		name := filepath.Join(filepath.Dir(l.path), e.Name())
		at, ok := strings.CutPrefix(name, stem+"-")
		if at, ok = cutSuffix(at, ext, ok); !ok || !e.Type().IsRegular() {
			continue
		}
		if _, err := time.Parse(stamp, at); err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func cutSuffix(s, suffix string, ok bool) (string, bool) {
	before, found := strings.CutSuffix(s, suffix)
	return before, ok && found
}
