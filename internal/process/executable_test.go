package process

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPinnedFileIsStarted puts another file in the place of a script with a checksum after it was compared: the one that was
// compared is started.
func TestPinnedFileIsStarted(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "script"), filepath.Join(dir, "other")
	const text = "#!/bin/sh\necho pinned $1\n"
	put(t, path, text, 0o700)
	put(t, other, "#!/bin/sh\necho other\n", 0o700)
	sp := &Spec{Command: []string{path, "argument"}, Options: Options{SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(text)))}}
	s, _ := newSupervisor(t, Config{})
	p, err := s.Process(sp)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	r := run(t, p)
	r.wait()
	if last := r.output.Last(); r.Err() != nil || len(last) != 1 || last[0] != "pinned argument" {
		t.Errorf("%q, %v", last, r.Err())
	}
	if _, err := s.Process(sp); err == nil || !strings.Contains(err.Error(), "is another file: its SHA-256 is") {
		t.Errorf("the other file: %v", err)
	}
}

// TestWritableLater makes an executable writable by everybody after it was checked: it is not started.
func TestWritableLater(t *testing.T) {
	const text = "#!/bin/sh\n"
	for _, pin := range []string{"", fmt.Sprintf("%x", sha256.Sum256([]byte(text)))} {
		s, _ := newSupervisor(t, Config{})
		sp := &Spec{Command: []string{file(t, "script")}, Options: Options{SHA256: pin}}
		put(t, sp.Command[0], text, 0o700)
		if says := check(sp); says != "" {
			t.Error(says)
		}
		if err := os.Chmod(sp.Command[0], 0o707); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Process(sp); err == nil || !strings.Contains(err.Error(), "can be written by everybody") {
			t.Errorf("Process = %v", err)
		}
	}
}

// TestUnsafePlaces checks executables, and makes directories, where others could replace them.
func TestUnsafePlaces(t *testing.T) {
	path := file(t, "program")
	copyFile(t, os.Args[0], path)
	for _, c := range []struct {
		file, dir os.FileMode
		shared    bool
		want      string
	}{
		{0o755, 0o755, false, ""},
		{0o757, 0o755, false, "program can be written by everybody, who could replace it"},
		{0o755, 0o777, false, "can be written by everybody"},
		{0o755, 0o1777, false, "can be written by everybody"},
		{0o757, 0o777, true, ""},
	} {
		for name, mode := range map[string]os.FileMode{path: c.file, filepath.Dir(path): c.dir} {
			if err := unix.Chmod(name, uint32(mode)); err != nil {
				t.Fatal(err)
			}
		}
		says := check(&Spec{Command: []string{path}, Options: Options{Shared: c.shared}, Table: "sub"})
		if (says == "") != (c.want == "") || !strings.Contains(says, c.want) || says != "" && !strings.Contains(says, "set sub.shared_directory = true") {
			t.Errorf("file %v in %v, %v: %s, want %q", c.file, c.dir, c.shared, says, c.want)
		}
	}
	shared := filepath.Join(t.TempDir(), "run")
	if err := errors.Join(os.Mkdir(shared, 0o755), os.Chmod(shared, 0o777)); err != nil {
		t.Fatal(err)
	}
	if _, err := newInstance(shared); err == nil || !strings.Contains(err.Error(), "can be written by everybody: it has to belong to") {
		t.Errorf("a runtime directory of everybody: %v", err)
	}
}

// copyFile copies a file and returns its checksum.
func copyFile(t *testing.T, from, to string) (sum string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	put(t, to, string(text), 0o755)
	return fmt.Sprintf("%x", sha256.Sum256(text))
}
