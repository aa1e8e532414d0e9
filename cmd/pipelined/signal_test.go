package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// asProgram makes the test's executable the program itself.
const asProgram = "PIPELINED_TEST_PROGRAM"

// TestSignalEndsWaiting starts commands that wait for others, and ends them with a signal: on a pipe that somebody has opened and
// writes nothing to, and on a peer that does not answer.
func TestSignalEndsWaiting(t *testing.T) {
	if signal.Ignored(syscall.SIGINT) { // as in the background of a shell: the commands would inherit it
		caught := make(chan os.Signal, 1)
		signal.Notify(caught, syscall.SIGINT)
		t.Cleanup(func() { signal.Stop(caught) })
	}
	config := "[sources.c]\nplugin = \"pcap\"\nfile = \"FIFO\"\n[zones.all]\nprefixes = [\"0.0.0.0/0\", \"::/0\"]\n" +
		"[sinks.out]\nplugin = \"file\"\npath = \"DIR/out.log\"\n[service]\nmetrics = \"\"\n[pipeline]\nsources = [\"c\"]\nsinks = [\"out\"]\n"
	begin := map[string][]byte{ // more than the pipe holds: it is written when the command reads
		"read": gunzip(t, edge)[:1<<16+1<<12], "verify": bytes.Repeat([]byte("x\n"), 1<<15+1<<11),
	}
	for name, args := range map[string][]string{
		"read":                   {"read", "FIFO"},
		"read, configuration":    {"read", "--config", "FIFO", edge},
		"read, standard input":   {"read", "-"},
		"run":                    {"run", "--config", "CONFIG"},
		"run, configuration":     {"run", "--config", "FIFO"},
		"check":                  {"check", "--config", "FIFO"},
		"verify":                 {"verify", "FIFO"},
		"verify, standard input": {"verify", "-"},
		"status":                 {"status", "--address", "PEER"},
		"status, configuration":  {"status", "--config", "FIFO"},
		"receive, configuration": {"receive", "--config", "FIFO", "DIR/socket"},
		"plugin test":            {"plugin", "test", "--config", "FIFO", "/bin/cat"},
	} {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			t.Run(name+"/"+sig.String(), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				fifo := filepath.Join(dir, "fifo")
				if err := unix.Mkfifo(fifo, 0o600); err != nil {
					t.Fatal(err)
				}
				peer, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer peer.Close()
				fill := strings.NewReplacer("FIFO", fifo, "DIR", dir, "PEER", peer.Addr().String(), "CONFIG", filepath.Join(dir, "c.toml"))
				if err := os.WriteFile(filepath.Join(dir, "c.toml"), []byte(fill.Replace(config)), 0o600); err != nil {
					t.Fatal(err)
				}
				in, out, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				defer out.Close()
				cmd := exec.Command(os.Args[0])
				for _, arg := range args {
					cmd.Args = append(cmd.Args, fill.Replace(arg))
				}
				var printed bytes.Buffer
				cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = append(os.Environ(), asProgram+"=1"), in, &printed, &printed
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				in.Close()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_ = cmd.Wait() // the status depends on how far the command was
				}()
				waits := make(chan error, 1)
				var writer *os.File
				go func() {
					var err error
					switch {
					case slices.Contains(args, "PEER"):
						_, err = peer.Accept()
					case slices.Contains(args, "-"):
						_, err = out.Write(begin[args[0]])
					default:
						writer, err = os.OpenFile(fifo, os.O_WRONLY, 0) // waits for the command to open it
					}
					waits <- err
				}()
				select {
				case err := <-waits:
					if err != nil {
						t.Fatal(err)
					}
				case <-ended:
					if r, err := os.OpenFile(fifo, os.O_RDWR, 0); err == nil { // lets the goroutine above go
						defer r.Close()
					}
					t.Fatalf("it did not wait:\n%s", printed.String())
				}
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				<-ended
				writer.Close() // nil if it was not needed
			})
		}
	}
}
