package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/safefile"
)

// compression is what becomes of rotated files.
type compression uint8

const (
	uncompressed compression = iota
	gzipped
	zstandard
)

func (c *compression) UnmarshalText(text []byte) error {
	switch string(text) {
	case "none":
		*c = uncompressed
	case "gzip":
		*c = gzipped
	case "zstd":
		*c = zstandard
	default:
		return fmt.Errorf(`want "none", "gzip" or "zstd", got %q`, text)
	}
	return nil
}

// suffix is behind the name of a compressed file.
func (c compression) suffix() string { return [...]string{"", ".gz", ".zst"}[c] }

// writer returns a compressor that uses one CPU.
func (c compression) writer(w io.Writer) (io.WriteCloser, error) {
	if c == gzipped {
		return gzip.NewWriter(w), nil
	}
	return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
}

// background compresses rotated files, beginning with those that an earlier run has left.
func (l *logFile) background() (stop func()) {
	if l.rotate.Compress == uncompressed {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	pack := make(chan struct{}, 1)
	l.pack = pack
	var working sync.WaitGroup
	working.Go(func() {
		for {
			pause := l.packPause()
			if pause == 0 {
				err := l.packAll(ctx)
				if err != nil && ctx.Err() == nil {
					l.warn("cannot compress", "path", l.path, "error", err)
				}
				if isFull(err) {
					pause = l.packLater()
				}
			}
			var again <-chan time.Time
			if pause > 0 {
				again = time.After(pause)
			}
			select {
			case <-pack:
			case <-again:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		l.pack = nil
		cancel()
		working.Wait()
	}
}

// retryPacking is how long nothing is compressed after there was no room for it, or for the log. A rotation does not shorten it, nor does another
// run: they would fill the disk again and again.
const retryPacking = 10 * time.Minute

// packLater puts compression off, and returns for how long.
func (l *logFile) packLater() time.Duration {
	l.noRoom.Store(time.Now().UnixNano())
	return retryPacking
}

// packPause returns for how long nothing is to be compressed.
func (l *logFile) packPause() time.Duration {
	since := time.Since(time.Unix(0, l.noRoom.Load()))
	if since < 0 { // the clock was set back
		return 0
	}
	return max(0, retryPacking-since)
}

// isFull reports whether an error says that there is no room.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// packSoon asks for the file that was just rotated to be compressed.
func (l *logFile) packSoon() {
	select {
	case l.pack <- struct{}{}:
	default: // asked already, or nobody does it
	}
}

// packAll compresses every rotated file that is not compressed, the oldest first.
func (l *logFile) packAll(ctx context.Context) error {
	log, err := safefile.OpenParent(l.path, l.trust)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	if log.Linked {
		return nil // it is not rotated
	}
	files, err := rotated(log)
	if err != nil {
		return err
	}
	for _, f := range files {
		for _, name := range f.names {
			if _, packed, _ := rotatedAt(log.Name, name); packed != uncompressed {
				continue
			}
			if packErr := l.packOne(ctx, log.Dir, name); packErr != nil {
				err = errors.Join(err, packErr)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return err
}

// errDeleted is the end of a compression whose file was deleted meanwhile.
var errDeleted = errors.New("deleted meanwhile")

// packOne puts a compressed file in the place of a rotated one. A compressed file that is there already is replaced: it may be
// what a power failure has left of one. The rotated one goes when the other is on the disk, whatever sync says: it was safe, and
// must not become less so.
func (l *logFile) packOne(ctx context.Context, dir *safefile.Dir, name string) (err error) {
	in, err := dir.Open(name, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted meanwhile
	} else if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	err = dir.Replace(name+l.rotate.Compress.suffix(), 0o600, func(out *os.File) error {
		if err := l.packInto(ctx, in, out); err != nil {
			return err
		}
		if still, err := dir.Exists(name); err != nil || still {
			return err
		}
		return errDeleted
	})
	if errors.Is(err, errDeleted) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l.packed.Add(1)
	return nil
}

// packInto compresses in to out, which gets owner, permissions and time of in.
func (l *logFile) packInto(ctx context.Context, in, out *os.File) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file any longer", in.Name())
	}
	room, err := newRoomy(out)
	if err != nil {
		return err
	}
	w, err := l.rotate.Compress.writer(room)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, &untilDone{ctx, in})
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	if err := l.owner.orOf(info).give(out); err != nil {
		return err
	}
	if err := out.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	return safefile.Chtimes(out, info.ModTime())
}

// roomy writes to a file as long as there is room for others beside it.
type roomy struct {
	f       *os.File
	reserve uint64 // bytes of the file system that it does not take
	looked  int    // bytes written since it was last looked
}

// maxReserve bounds what is left for the log: it writes on while a rotated file is compressed.
const maxReserve = 64 << 20

func newRoomy(f *os.File) (*roomy, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return nil, fmt.Errorf("look for room: %w", err)
	}
	r := &roomy{f: f, reserve: min(maxReserve, fs.Blocks*uint64(fs.Frsize)/16)}
	r.looked = r.step()
	return r, nil
}

// step is how many bytes are written between two looks.
func (r *roomy) step() int { return int(r.reserve / 8) }

func (r *roomy) Write(p []byte) (int, error) {
	if r.looked >= r.step() {
		var fs unix.Statfs_t
		if err := unix.Fstatfs(int(r.f.Fd()), &fs); err != nil {
			return 0, fmt.Errorf("look for room: %w", err)
		}
		if free := fs.Bavail * uint64(fs.Frsize); free < r.reserve {
			return 0, fmt.Errorf("%d bytes are free, %d are left for the log: %w", free, r.reserve, unix.ENOSPC)
		}
		r.looked = 0
	}
	n, err := r.f.Write(p)
	r.looked += n
	return n, err
}

// untilDone reads until a context ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
