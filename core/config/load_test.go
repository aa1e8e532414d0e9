package config

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/memory"
)

// tree writes files and returns the path of pipeline.toml among them.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "pipeline.toml")
}

func TestLoad(t *testing.T) {
	const main = "[pipeline]\nsources = 'a'\nsinks = ['b', 'c']\n[sources.a]\nplugin = 'p'\n"
	sink := func(name string) string { return "[sinks." + name + "]\nplugin = 'p'\n" }
	for _, tt := range []struct {
		name  string
		files map[string]string
		read  []string // below the directory
		want  []string
	}{
		{
			"one file", map[string]string{"pipeline.toml": main + sink("b") + sink("c")},
			[]string{"pipeline.toml"}, nil,
		},
		{
			"drop-ins in the order of their names",
			map[string]string{
				"pipeline.toml": main, "pipeline.toml.d/20.toml": sink("c"), "pipeline.toml.d/10.toml": sink("b"),
				"pipeline.toml.d/README": "no", "pipeline.toml.d/.10.toml": "no", "pipeline.toml.d/30.toml~": "no",
			},
			[]string{"pipeline.toml", "pipeline.toml.d/10.toml", "pipeline.toml.d/20.toml"}, nil,
		},
		{
			"the same table in two files",
			map[string]string{
				"pipeline.toml":          main + sink("b"),
				"pipeline.toml.d/x.toml": sink("c") + "x = 1\n" + sink("b") + "[pipeline]\nsinks = 'nope'\n",
			},
			[]string{"pipeline.toml", "pipeline.toml.d/x.toml"},
			[]string{
				"pipeline.toml.d/x.toml:4:8: sinks.b: this table is already defined at pipeline.toml:6:8",
				"pipeline.toml.d/x.toml:6:2: pipeline: this table is already defined at pipeline.toml:1:2",
			},
		},
		{
			"a mistake in each file, and no follow-up of the one that hides tables",
			map[string]string{
				"pipeline.toml":          main + "[nodes]\n",
				"pipeline.toml.d/1.toml": "[sinks.b",
				"pipeline.toml.d/2.toml": "[sinks.c]\n",
			},
			[]string{"pipeline.toml", "pipeline.toml.d/1.toml", "pipeline.toml.d/2.toml"},
			[]string{
				`pipeline.toml:6:2: nodes: unknown table; did you mean "node"?`,
				`pipeline.toml.d/1.toml:1:8: expected '.' or ']' to end table name, but got end of file instead`,
				`pipeline.toml.d/2.toml:1:8: sinks.c.plugin: missing: which plugin this sink is`,
			},
		},
		{
			"missing", nil,
			[]string{"pipeline.toml"}, []string{"pipeline.toml: cannot be read: no such file or directory"},
		},
		{
			"a directory", map[string]string{"pipeline.toml/x": ""},
			[]string{"pipeline.toml"}, []string{"pipeline.toml: is a directory, not a file"},
		},
		{
			"drop-in directory is a file", map[string]string{"pipeline.toml": main + sink("b"), "pipeline.toml.d": ""},
			[]string{"pipeline.toml"}, []string{"pipeline.toml.d: cannot be read: not a directory"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tree(t, tt.files)
			below := func(s string) string { return strings.ReplaceAll(s, filepath.Dir(path)+"/", "") }
			f, problems := Load(path)
			f.RequireRun(problems)
			var read, got []string
			for _, file := range f.Files {
				read = append(read, below(file))
			}
			for _, p := range problems.All() {
				got = append(got, below(p.String()))
			}
			if diff := gocmp.Diff(tt.read, read); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if diff := gocmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDropInFIFO does not wait for the other end of a FIFO in the drop-in directory.
func TestDropInFIFO(t *testing.T) {
	path := tree(t, map[string]string{"pipeline.toml": "", "pipeline.toml.d/b.toml": ""})
	fifo := filepath.Join(filepath.Dir(path), "pipeline.toml.d", "a.toml")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	f, problems := Load(path)
	if all := problems.All(); len(all) != 1 || all[0].String() != fifo+": is no regular file" || len(f.Files) != 3 {
		t.Errorf("%v of %v", all, f.Files)
	}
}

// TestTooLarge reads two files of 2 MiB: those that are larger than the limit, together with those before them, are not parsed.
func TestTooLarge(t *testing.T) {
	path := tree(t, map[string]string{"pipeline.toml": strings.Repeat("#\n", 1<<20)})
	for limit, want := range map[int64]int{1 << 20: 2, 2<<20 - 1: 2, 2 << 20: 1, 4<<20 - 1: 1, 4 << 20: 0} {
		problems, loaded := new(Problems), newTables()
		loaded.limit = sizeLimit{limit, "so it is"}
		loaded.load(path, problems)
		loaded.load(path, problems)
		for _, p := range problems.list {
			if want := fmt.Sprintf("the configuration is larger than %d MiB: so it is", limit>>20); p.Message != want || p.File != path {
				t.Errorf("with a limit of %d: %v, want %q", limit, p, want)
			}
		}
		if len(problems.list) != want {
			t.Errorf("with a limit of %d: %d mistakes, want %d", limit, len(problems.list), want)
		}
	}
}

// TestLimitByMemory derives the limit from what is left of the memory.
func TestLimitByMemory(t *testing.T) {
	for _, tt := range []struct {
		left memory.Left
		want sizeLimit
	}{
		{memory.Left{Bytes: 8 << 30, Limit: "GOMEMLIMIT"}, sizeLimit{256 << 20, "reading takes 32 times as much memory, and GOMEMLIMIT leaves 8192 MiB"}},
		{memory.Left{Bytes: 0, Limit: "GOMEMLIMIT"}, sizeLimit{1 << 20, "reading takes 32 times as much memory, and GOMEMLIMIT leaves 0 MiB"}},
		{memory.Left{Bytes: math.MaxInt64}, sizeLimit{math.MaxUint32, "places in a file are numbers of 32 bits"}},
	} {
		if got := limitFor(tt.left); got != tt.want {
			t.Errorf("%+v: %+v, want %+v", tt.left, got, tt.want)
		}
	}
}

// TestStamp changes the files of a configuration, and others beside them: the stamp differs after the former alone.
func TestStamp(t *testing.T) {
	path := tree(t, map[string]string{"pipeline.toml": "a", "real/pipeline.toml": "b", "next/pipeline.toml": "c"})
	dir := filepath.Dir(path)
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) error { return os.WriteFile(in(name), []byte(text), 0o600) }
	seen := Stamp(path)
	for _, step := range []struct {
		what    string
		do      func() error
		differs bool
	}{
		{"nothing", func() error { return nil }, false},
		{"another file", func() error { return write("log", "x") }, false},
		{"a file with a similar name", func() error { return write("pipeline.toml~", "longer") }, false},
		{"longer", func() error { return write("pipeline.toml", "longer") }, true},
		{"another in its place", func() error { return os.Rename(in("pipeline.toml~"), path) }, true},
		{"a directory without files", func() error { return os.Mkdir(in("pipeline.toml.d"), 0o700) }, false},
		{"a file of an editor in it", func() error { return write("pipeline.toml.d/.a.toml", "x") }, false},
		{"a drop-in", func() error { return write("pipeline.toml.d/a.toml", "x") }, true},
		{"a drop-in renamed", func() error { return os.Rename(in("pipeline.toml.d/a.toml"), in("pipeline.toml.d/b.toml")) }, true},
		{"gone", func() error { return os.Remove(path) }, true},
		{"links", func() error {
			return cmp.Or(os.Symlink("real", in("now")), os.Symlink("now/pipeline.toml", path))
		}, true},
		{"a link on the way", func() error { return cmp.Or(os.Symlink("next", in("new")), os.Rename(in("new"), in("now"))) }, true},
		{"a link that nothing goes through", func() error { return os.Symlink("real", in("old")) }, false},
	} {
		if err := step.do(); err != nil {
			t.Fatal(step.what, err)
		}
		now := Stamp(path)
		if differs := now != seen; differs != step.differs {
			t.Errorf("%s: differs: %v", step.what, differs)
		}
		seen = now
	}
}
