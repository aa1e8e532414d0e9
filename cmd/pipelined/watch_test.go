package main

import (
	"os"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/pipeline"
)

// TestWatchConfiguration has the files of the configuration watched: what is written in the place of another is taken over, a mistake is
// refused once, however often it is written, and so is one in a drop-in file that was not there.
func TestWatchConfiguration(t *testing.T) {
	c := controlPipeline(t)
	configure := func(replace ...string) {
		t.Helper()
		path := c.path
		c.path += ".new"
		c.configure(t, replace...)
		if c.path = path; os.Rename(path+".new", path) != nil {
			t.Fatal("it cannot be renamed")
		}
	}
	await := func(what string, is func(pipeline.Configuration) bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !is(c.Configuration()); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %+v", what, c.Configuration())
			}
		}
	}
	on := []string{"[service]\n", "[service]\nwatch = true\n"}
	configure(on...)
	mustRun(t, "reload", "--control", c.socket)
	await("watched", func(n pipeline.Configuration) bool { return n.Number == 2 })
	configure(append(on, `"30m"`, `"2h"`)...)
	await("renamed", func(n pipeline.Configuration) bool { return n.Number == 3 })
	for range 3 {
		configure(append(on, "[pipeline]", "[pipelin]")...)
		time.Sleep(50 * time.Millisecond)
	}
	await("a mistake", func(n pipeline.Configuration) bool { return n.Refusals == 1 })
	configure(append(on, "[pipeline]", "[pipelin]")...)
	if err := os.Mkdir(c.path+".d", 0o700); err != nil {
		t.Fatal(err)
	}
	configure(append(on, `"30m"`, `"3h"`)...)
	await("mended", func(n pipeline.Configuration) bool { return n.Number == 4 && n.Refused == "" && n.Refusals == 1 })
	if err := os.WriteFile(c.path+".d/more.toml", []byte("[sessions]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	await("a drop-in with a mistake", func(n pipeline.Configuration) bool { return n.Refusals == 2 })
	if err := os.Remove(c.path + ".d/more.toml"); err != nil {
		t.Fatal(err)
	}
	await("without it", func(n pipeline.Configuration) bool { return n.Refused == "" })
	configure()
	await("not watched", func(n pipeline.Configuration) bool { return n.Number == 5 })
	c.reloads.watcher.running.Wait()
	configure(`"30m"`, `"4h"`)
	mustRun(t, "reload", "--control", c.socket)
	if n := c.Configuration(); n.Number != 6 || n.Refusals != 2 {
		t.Errorf("at the end: %+v", n)
	}
}
