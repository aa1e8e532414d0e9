package file_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/file"
)

// childPath is the environment variable that makes the test binary a child process: it writes records to that path for ever, or
// a few to standard output.
const (
	childPath   = "PIPELINED_TEST_FILE"
	childFormat = "PIPELINED_TEST_FORMAT"
	toStdout    = "-"
)

// tellTB is as much of a testing.TB as the stream needs outside of a test.
type tellTB struct{ testing.TB }

func (tellTB) Cleanup(func()) {}

func child(path string) {
	plugin, text := file.Plugin(), fmt.Sprintf("path = %q\nformat = %q", path, os.Getenv(childFormat))
	if path == toStdout {
		plugin, text = file.StdoutPlugin(), ""
	}
	section, _ := config.ParseTable("child.toml", []byte(text))
	sink := plugin.Configure(section, sdk.Env{Hostname: "fw1"})
	s := sinktest.NewStream(tellTB{})
	s.Drain()
	s.Append(numbered(1000)...)
	if path != toStdout {
		s.Repeat(1 << 40)
		go func() {
			for i := event.Seq(0); ; i += 5000 {
				_ = s.WaitAcked(context.Background(), i)
				fmt.Println(i)
			}
		}()
	}
	if err := s.Run(context.Background(), sink); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestKill kills a process that writes as fast as it can. Of its file only the end may be torn, and the next sink cuts that off.
func TestKill(t *testing.T) {
	for _, name := range []string{format.RFC5424, format.Frames} {
		path := filepath.Join(t.TempDir(), "log.txt")
		for range 2 {
			acked := runAndKill(t, path, name)
			sink := newSink(t, path, fmt.Sprintf("format = %q", name))
			drained(t, sink, numbered(1000)[999])
			count := wholeRecords(t, path, name)
			if count <= acked {
				t.Fatalf("%d records of which %d were acknowledged", count, acked)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func runAndKill(t *testing.T, path, name string) (acked int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childPath+"="+path, childFormat+"="+name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for acked < 10_000 && lines.Scan() {
		if _, err := fmt.Sscan(lines.Text(), &acked); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	return acked
}

// wholeRecords returns how many records the file holds and fails unless they are the numbered ones, over and over, and one more.
func wholeRecords(t *testing.T, path, name string) (n int) {
	t.Helper()
	got, enc := withoutNames(read(t, path)), encoder(t, name)
	all := numbered(1000)
	for len(got) > 0 {
		r := all[n%1000]
		r.SetSeq(event.Seq(n + 1))
		next := string(enc.Append(nil, &r, sinktest.Names())) + enc.Terminator()
		rest, ok := strings.CutPrefix(got, next)
		if !ok {
			last := all[999]
			last.SetSeq(1)
			if end := string(enc.Append(nil, &last, sinktest.Names())) + enc.Terminator(); got != end {
				t.Fatalf("record %d is torn: %.200q", n, got)
			}
			return n + 1
		}
		got = rest
		n++
	}
	t.Fatal("the last record is missing")
	return n
}

func TestStdout(t *testing.T) {
	for _, toFile := range []bool{false, true} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childPath+"="+toStdout)
		cmd.Stderr = os.Stderr
		var got string
		if toFile { // a regular file, with something in it
			path := filepath.Join(t.TempDir(), "out")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(f, "before\n")
			cmd.Stdout = f
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
			got = strings.TrimPrefix(read(t, path), "before\n")
		} else {
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			got = string(out)
		}
		same(t, got, want(t, format.Text, 1, 1000))
	}
}
