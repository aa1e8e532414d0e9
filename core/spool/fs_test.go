package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// disk is a directory in memory. What was not synced may be lost in a crash, in whole or in part, and calls fail as told.
type disk struct {
	mu    sync.Mutex
	names map[string]*inode // as the process sees them
	kept  map[string]*inode // as a crash leaves them at least
	ops   []func(map[string]*inode)
	used  int64
	limit int64 // bytes; 0: none
	calls int
	// fail decides whether a call fails, and whether it has an effect all the same.
	fail func(op, name string) (err error, done bool)
	down bool // after a crash: nothing works any more
}

// inode is the content of a file.
type inode struct {
	data   []byte
	synced []byte
	writes []change // since the last sync
}

// change is a write, or a truncation (data is nil).
type change struct {
	off  int64
	data []byte
}

func newDisk() *disk { return &disk{names: make(map[string]*inode), kept: make(map[string]*inode)} }

var errCrashed = errors.New("the machine is down")

// begin is called by every operation. It reports whether the operation is to have its effect, and what it returns.
func (d *disk) begin(op, name string) (do bool, err error) {
	if d.down {
		return false, errCrashed
	}
	d.calls++
	if d.fail != nil {
		if err, done := d.fail(op, name); err != nil {
			return done && !d.down, err
		}
	}
	return !d.down, nil
}

func (d *disk) rename(f func(map[string]*inode)) {
	f(d.names)
	d.ops = append(d.ops, f)
}

func (d *disk) Create(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do, err := d.begin("create", name)
	if do {
		if d.names[name] != nil {
			return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
		}
		n := new(inode)
		d.rename(func(m map[string]*inode) { m[name] = n })
		if err == nil {
			return &diskHandle{d, name, n}, nil
		}
	}
	if err == nil {
		err = errCrashed
	}
	return nil, err
}

func (d *disk) Open(name string, _ bool) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.begin("open", name); err != nil {
		return nil, err
	}
	n := d.names[name]
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &diskHandle{d, name, n}, nil
}

func (d *disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	do, err := d.begin("remove", name)
	if do {
		n := d.names[name]
		if n == nil {
			return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
		}
		d.used -= int64(len(n.data))
		d.rename(func(m map[string]*inode) { delete(m, name) })
	}
	return err
}

func (d *disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	do, err := d.begin("rename", from)
	if do {
		n := d.names[from]
		if n == nil {
			return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
		}
		if old := d.names[to]; old != nil {
			d.used -= int64(len(old.data))
		}
		d.rename(func(m map[string]*inode) { m[to] = n; delete(m, from) })
	}
	return err
}

func (d *disk) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.begin("list", ""); err != nil {
		return nil, err
	}
	return slices.Collect(maps.Keys(d.names)), nil
}

func (d *disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	do, err := d.begin("syncdir", "")
	if do {
		d.kept, d.ops = maps.Clone(d.names), nil
	}
	return err
}

func (d *disk) Free() (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.begin("free", ""); err != nil {
		return 0, err
	}
	if d.limit == 0 {
		return 1 << 40, nil
	}
	return uint64(max(0, d.limit-d.used)), nil
}

func (d *disk) Close() error { return nil }

// crash returns the disk as it is found after the machine was down: what was synced, and of the rest what chance has left. Of names a
// journal keeps a beginning of what was done.
func (d *disk) crash(rng *rand.Rand) *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = true
	after := newDisk()
	for _, op := range d.ops[:rng.IntN(len(d.ops)+1)] {
		op(d.kept)
	}
	for _, name := range slices.Sorted(maps.Keys(d.kept)) {
		n := d.kept[name]
		data := slices.Clone(n.synced)
		for _, c := range n.writes {
			if rng.IntN(3) == 0 {
				continue
			}
			if c.data != nil && rng.IntN(3) == 0 {
				c.data = c.data[:rng.IntN(len(c.data)+1)]
			}
			data = c.apply(data)
		}
		after.names[name] = &inode{data: data, synced: slices.Clone(data)}
		after.used += int64(len(data))
	}
	after.kept = maps.Clone(after.names)
	return after
}

func (c *change) apply(data []byte) []byte {
	if c.data == nil {
		if int64(len(data)) < c.off {
			return append(data, make([]byte, c.off-int64(len(data)))...)
		}
		return data[:c.off]
	}
	if end := c.off + int64(len(c.data)); int64(len(data)) < end {
		data = append(data, make([]byte, end-int64(len(data)))...)
	}
	copy(data[c.off:], c.data)
	return data
}

type diskHandle struct {
	d    *disk
	name string
	n    *inode
}

func (h *diskHandle) ReadAt(p []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if _, err := h.d.begin("read", h.name); err != nil {
		return 0, err
	}
	if off >= int64(len(h.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *diskHandle) WriteAt(p []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	do, err := h.d.begin("write", h.name)
	if !do {
		return 0, errors.Join(err, errIf(err == nil, errCrashed))
	}
	n := len(p)
	if err != nil {
		n /= 2 // as far as it has come
	}
	if grows := off + int64(n) - int64(len(h.n.data)); grows > 0 && h.d.limit > 0 && h.d.used+grows > h.d.limit {
		n, err = max(0, n-int(h.d.used+grows-h.d.limit)), unix.ENOSPC
	}
	before := len(h.n.data)
	c := change{off, slices.Clone(p[:n])}
	if n > 0 {
		h.n.data = c.apply(h.n.data)
		h.n.writes = append(h.n.writes, c)
	}
	h.d.used += int64(len(h.n.data) - before)
	return n, err
}

func errIf(cond bool, err error) error {
	if cond {
		return err
	}
	return nil
}

func (h *diskHandle) Truncate(size int64) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	do, err := h.d.begin("truncate", h.name)
	if do {
		before := len(h.n.data)
		c := change{off: size}
		h.n.data = slices.Clone(c.apply(h.n.data))
		h.n.writes = append(h.n.writes, c)
		h.d.used += int64(len(h.n.data) - before)
	}
	return err
}

func (h *diskHandle) Sync() error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	do, err := h.d.begin("sync", h.name)
	if do && err == nil {
		h.n.synced, h.n.writes = slices.Clone(h.n.data), nil
	} else if do {
		h.n.writes = nil // the kernel has thrown away what it could not write
	}
	return err
}

func (h *diskHandle) Size() (int64, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if _, err := h.d.begin("size", h.name); err != nil {
		return 0, err
	}
	return int64(len(h.n.data)), nil
}

func (h *diskHandle) Close() error { return nil }

// String returns the files and their sizes.
func (d *disk) String() (text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		text += fmt.Sprintf(" %s:%d", name, len(d.names[name].data))
	}
	return text
}
