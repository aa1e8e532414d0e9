package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"

	"github.com/rtflow/pipelined/core/control"
)

// TestTopOnce prints what the daemon shows, for people and as JSON.
func TestTopOnce(t *testing.T) {
	c := controlPipeline(t)
	out := mustRun(t, "top", "--once", "--interval", "200ms", "--control", c.socket)
	for _, want := range []string{`(?m)^pipelined at ` + c.socket + `  healthy  up `, `(?m)^  SINKS `, `(?m)^  events +\w+ +0 `, `(?m)^  DENIED PORTS `} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("it does not print %s:\n%s", want, out)
		}
	}
	var f control.Frame
	if err := json.Unmarshal([]byte(mustRun(t, "top", "--once", "--json", "-i", "200ms", "--control", c.socket)), &f); err != nil || len(f.Status) == 0 {
		t.Errorf("as JSON: %v", err)
	}
	for args, want := range map[string]string{
		"--interval 1ms": "must be 200ms to 1m0s", "--json": "goes with --once", "": "needs a terminal", "--once --control " + c.socket + "x": "no such socket",
	} {
		if _, _, err := invoke(t, append([]string{"top", "--control", c.socket}, strings.Fields(args)...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("top %s: %v, want %s", args, err, want)
		}
	}
}

// TestExplainLine explains a line of the log, as the screen has it done.
func TestExplainLine(t *testing.T) {
	line, _, _ := strings.Cut(mustRun(t, "read", edge), "\n")
	out, err := explainLine(t.Context(), "pipeline.toml", line)
	if err != nil || !strings.Contains(out, "verdict") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := explainLine(t.Context(), "nosuch.toml", line); err == nil {
		t.Errorf("without the configuration:\n%s", out)
	}
}

// terminalOf is a terminal with the program on it.
type terminalOf struct {
	*os.File

	cmd     *exec.Cmd
	mu      sync.Mutex
	screen  *vt.Emulator
	all     strings.Builder // what was written
	changed chan struct{}   // holds one token
	ended   chan struct{}
}

func onTerminal(t *testing.T, env []string, args ...string) *terminalOf {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), asProgram+"=1", "TERM=xterm-256color"), env...)
	file, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
	if err != nil {
		t.Fatal(err)
	}
	x := &terminalOf{File: file, cmd: cmd, screen: vt.NewEmulator(120, 40), changed: make(chan struct{}, 1), ended: make(chan struct{})}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = io.Copy(file, x.screen) // what a terminal says when it is asked what it can do
	}()
	go func() {
		defer close(x.ended)
		buf := make([]byte, 4096)
		for {
			n, err := file.Read(buf)
			x.mu.Lock()
			x.all.Write(buf[:n])
			_, _ = x.screen.Write(buf[:n])
			x.mu.Unlock()
			select {
			case x.changed <- struct{}{}:
			default:
			}
			if err != nil { // EIO: nobody has the other end any more
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		<-x.ended
		_ = x.screen.InputPipe().(io.Closer).Close() // closing the emulator itself is a race with its reader
		_ = file.Close()
		<-answered
	})
	return x
}

// await waits until the screen shows a text.
func (x *terminalOf) await(t *testing.T, text string) {
	t.Helper()
	x.until(t, "it does not show "+text, func() bool { return strings.Contains(x.screen.String(), text) })
}

// left waits until the program has left the terminal as it was.
func (x *terminalOf) left(t *testing.T) {
	t.Helper()
	x.until(t, "it does not leave the terminal", func() bool { return !x.screen.IsAltScreen() })
}

func (x *terminalOf) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	hang, ended := time.After(time.Minute), false
	for {
		x.mu.Lock()
		ok, text := done(), x.screen.String()
		x.mu.Unlock()
		if ok {
			return
		}
		if ended {
			t.Fatalf("%s, and has ended:\n%s", what, text)
		}
		select {
		case <-x.changed:
		case <-x.ended:
			ended = true
		case <-hang:
			t.Fatalf("%s:\n%s", what, text)
		}
	}
}

func (x *terminalOf) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := io.WriteString(x, keys); err != nil {
		t.Fatal(err)
	}
}

// TestTopOnTerminal runs the screen on a terminal: it draws, takes keys and another size, explains, and leaves the terminal as it was.
func TestTopOnTerminal(t *testing.T) {
	c := controlPipeline(t)
	x := onTerminal(t, nil, "top", "--interval", "200ms", "--control", c.socket)
	x.await(t, "healthy")
	x.await(t, "DENIED SOURCES")
	c.run(t)
	x.await(t, "198.51.100.66")
	x.press(t, "\t") // sources
	x.await(t, "> 198.51.100.")
	x.press(t, "\r")
	x.await(t, "verdict   ")
	x.press(t, "\x1b")
	x.await(t, "DENIED PORTS")
	x.mu.Lock()
	x.screen.Resize(70, 20)
	x.mu.Unlock()
	if err := pty.Setsize(x.File, &pty.Winsize{Rows: 20, Cols: 70}); err != nil {
		t.Fatal(err)
	}
	x.await(t, "[denied sources]")
	x.press(t, "?")
	x.await(t, "Shift-Tab")
	x.press(t, "q")
	x.left(t)
	if err := x.cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	for n := 1; n != 0; n, _ = c.Tail().Watchers() {
		if t.Context().Err() != nil {
			t.Fatal("it looks still")
		}
		runtime.Gosched()
	}
}

// TestTopWithoutColour draws no colours if NO_COLOR is set, and ends with Ctrl-C.
func TestTopWithoutColour(t *testing.T) {
	c := controlPipeline(t)
	x := onTerminal(t, []string{"NO_COLOR=1"}, "top", "--control", c.socket)
	x.await(t, "DENIED SOURCES")
	x.mu.Lock()
	drawn := x.all.String()
	x.mu.Unlock()
	if colour := regexp.MustCompile(`\x1b\[[0-9;]*(3[0-7]|38;5;\d+)m`).FindString(drawn); colour != "" {
		t.Errorf("it draws %q", colour)
	}
	x.press(t, "\x03")
	x.left(t)
	if err := x.cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}
