package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadWithoutConfig reads a capture in a folder without a configuration, and says with what. A configuration that is named must
// exist.
func TestReadWithoutConfig(t *testing.T) {
	capture, err := filepath.Abs(edge)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	out, errs, err := invoke(t, "read", capture)
	if err != nil || !strings.Contains(out, `zone-name="inside"`) || !strings.Contains(out, `zone-name="outside"`) {
		t.Fatalf("%v: %.300s\n%s", err, out, errs)
	}
	for _, want := range []string{"there is no pipeline.toml here", "-c FILE", "pipelined sample > pipeline.toml"} {
		if !strings.Contains(errs, want) {
			t.Errorf("standard error does not say %q: %s", want, errs)
		}
	}
	if _, _, err := invoke(t, "read", "--config", "pipeline.toml", capture); err == nil {
		t.Error("a configuration that is named and not there")
	}
	if err := os.WriteFile("pipeline.toml", []byte("[zones.all]\nprefixes = [\"0.0.0.0/0\", \"::/0\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, err := invoke(t, "read", capture); err != nil || errs != "" || !strings.Contains(out, `zone-name="all"`) {
		t.Errorf("with a pipeline.toml: %v: %.300s\n%s", err, out, errs)
	}
}

// TestReadSaysItsConfiguration reads a capture in a folder with a configuration while standard error is a terminal.
func TestReadSaysItsConfiguration(t *testing.T) {
	capture, err := filepath.Abs(edge)
	if err != nil {
		t.Fatal(err)
	}
	inEmptyFolder(t)
	if err := os.WriteFile("pipeline.toml", []byte("[zones.all]\nprefixes = [\"0.0.0.0/0\", \"::/0\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"read", capture}, []string{"pipelined: the configuration is pipeline.toml"}},
		{[]string{"read", "-c", "pipeline.toml", capture}, nil},
	} {
		terminal, screen := openTerminal(t)
		if code := run(t.Context(), c.args, io.Discard, terminal); code != 0 {
			t.Errorf("%v: exit status %d", c.args, code)
		}
		const end = "end of the test"
		fmt.Fprintln(terminal, end)
		var got []string
		lines := bufio.NewScanner(screen)
		for lines.Scan() && lines.Text() != end {
			got = append(got, lines.Text())
		}
		if err := lines.Err(); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v: standard error says %q, want %q (%v)", c.args, got, c.want, err)
		}
	}
}

// openTerminal returns a pseudoterminal, and the end that reads what is written to it (pts(4)).
func openTerminal(t *testing.T) (terminal, screen *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return terminal, screen
}

// TestReadSaysWhatIsUnused reads a capture of nothing but ARP.
func TestReadSaysWhatIsUnused(t *testing.T) {
	out, errs, err := invoke(t, "read", writeFile(t, "arp.pcapng", string(namedInterface("lan0", 1, 9))))
	if err != nil || out != "" || !strings.Contains(errs, "0 of 1 packets could be used: 1 hold no IP") {
		t.Errorf("%v: %q %q", err, out, errs)
	}
}
