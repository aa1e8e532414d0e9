package xsk

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// DefaultBPFFS is where the BPF file system is mounted, as a rule.
const DefaultBPFFS = "/sys/fs/bpf"

// ErrNoBPFFS says that there is no BPF file system where one is looked for.
var ErrNoBPFFS = errors.New("is no BPF file system")

// pinRoot returns the directory of this package in a BPF file system. The error is [fs.ErrNotExist] if there is none.
func pinRoot(bpffs string) (string, error) {
	root := filepath.Join(bpffs, "pipelined")
	// The directory alone may be what a service sees of the file system.
	switch is, err := isBPFFS(root); {
	case err == nil && is:
		return root, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", explainPin(root, err)
	}
	is, err := isBPFFS(bpffs)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", explainPin(bpffs, err)
	case err == nil && is:
		return "", fmt.Errorf("%s: %w", root, fs.ErrNotExist)
	}
	hint := fmt.Sprintf("mount -t bpf bpf %s", bpffs)
	if mounted := mountedBPFFS(); len(mounted) > 0 {
		hint = "there is one at " + strings.Join(mounted, ", ")
	}
	return "", fmt.Errorf("%s %w (%s)", bpffs, ErrNoBPFFS, hint)
}

// makePinRoot returns the same, and makes the directory. It refuses one into which others can put files.
func makePinRoot(bpffs string) (string, error) {
	root, err := pinRoot(bpffs)
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrNoBPFFS) {
		root = filepath.Join(bpffs, "pipelined")
		if err = os.Mkdir(root, 0o700); errors.Is(err, fs.ErrExist) {
			err = nil
		}
		if err != nil {
			return "", explainPin(root, err)
		}
	}
	if err != nil {
		return "", err
	}
	info, err := os.Lstat(root)
	if err != nil {
		return "", explainPin(root, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if own := ok && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid()); !info.IsDir() || !own || info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("%s is not a directory of this user, or others may write to it", root)
	}
	return root, nil
}

func isBPFFS(path string) (bool, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return false, err
	}
	return uint32(stat.Type) == unix.BPF_FS_MAGIC, nil
}

// mountedBPFFS returns where BPF file systems are mounted.
func mountedBPFFS() (list []string) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		mount, what, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(mount)
		if ok && strings.HasPrefix(what, "bpf ") && len(fields) > 4 {
			list = append(list, fields[4])
		}
	}
	return list
}

// explainPin adds to an error of the file system what is missing.
func explainPin(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: no permission: a directory of the user of this process is needed, see the unit of pipelined: %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}
