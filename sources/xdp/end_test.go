package xdp

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/xsk"
)

// A bridge that is closed says once, for both interfaces, what they do from now on, as far as anybody has read them.
func TestSaysWhatItLeaves(t *testing.T) {
	const (
		nothing = "nothing crosses between the two interfaces any more interface=left peer=right"
		detach  = " program_away_with=pipelined detach left right"
		unread  = "packets between the two interfaces go past from now on, and nobody judges them interface=left peer=right" + detach
	)
	for _, c := range []struct {
		name          string
		open          bool
		pinned, reads bool
		before        func(t *testing.T, p *pair)
		want          []string
	}{
		{name: "closed", pinned: true, reads: true, want: []string{nothing + detach}},
		{name: "open", open: true, pinned: true, reads: true, want: []string{unread}},
		{name: "not pinned", open: true, reads: true, want: []string{nothing}},
		{name: "never read", open: true, pinned: true},
		{name: "bypass", pinned: true, reads: true, before: bypass, want: []string{unread}},
		{name: "no peer", open: true, pinned: true, reads: true, before: withoutPeer, want: []string{nothing + detach}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := cables(t, 1)
			if c.pinned {
				p.bpffs = nettest.BPFFS(t)
			}
			if c.open {
				p.onFailure = xsk.FailOpen
			}
			var mu sync.Mutex
			var told []string
			noted := p.warn
			p.warn = func(msg string, args ...any) {
				for i := 0; i+1 < len(args); i += 2 {
					msg += fmt.Sprintf(" %v=%v", args[i], args[i+1])
				}
				mu.Lock()
				told = append(told, msg)
				mu.Unlock()
				noted(msg)
			}
			p.start(t)
			if c.reads {
				stop := p.work(t, func(*packet.Frame) source.Verdict { return source.Forward })
				if c.before != nil {
					c.before(t, p)
				}
				stop()
			}
			for _, s := range []*Source{p.fromLeft, p.fromRight, p.fromRight} {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			told = slices.DeleteFunc(told, func(s string) bool { return !strings.Contains(s, "interfaces") && !strings.Contains(s, "to its peer") })
			if !slices.Equal(told, c.want) {
				t.Errorf("told %q, want %q", told, c.want)
			}
		})
	}
}

// bypass lets everything go past, by hand.
func bypass(t *testing.T, p *pair) {
	t.Helper()
	p.middle.Do(func() {
		list, err := xsk.Attachments(p.bpffs)
		if err != nil || len(list) != 2 {
			t.Fatalf("%v, %v", list, err)
		}
		for _, a := range list {
			if err := a.SetBypass(true); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// withoutPeer deletes an interface.
func withoutPeer(_ *testing.T, p *pair) {
	p.middle.Delete("right")
	p.wait(p.fromRight, "waiting", func(st State) bool { return st.Condition == Waiting })
}
