package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const client2IP, server2IP = "10.9.1.3", "10.9.2.3"

// pairs returns bridgeConfig with one pair, and with a second one that has the same options.
func (n *network) pairs(onFailure string) (one, two string) {
	options := `mode = "bridge"` + "\non_failure = \"" + onFailure + `"`
	if onFailure == "open" {
		options += "\non_failure_after = \"10s\"" // a worker on a busy machine is not one that hangs
	}
	text := strings.NewReplacer(`mode      = "bridge"`, options, "BPFFS", n.bpffs,
		`["lan0"]`, `["lan0", "lan1"]`, `["wan0"]`, `["wan0", "wan1"]`).Replace(bridgeConfig)
	first := text[strings.Index(text, "[sources.lan]"):strings.Index(text, "[hooks.policies]")]
	second := strings.NewReplacer("sources.lan", "sources.lan-2", "sources.wan", "sources.wan-2", `"lan"`, `"lan-2"`, `"wan"`, `"wan-2"`,
		"lan0", "lan1", "wan0", "wan1").Replace(first)
	return text, strings.NewReplacer(`["lan", "wan"]`, `["lan", "wan", "lan-2", "wan-2"]`, first, first+second).Replace(text)
}

// conversation is datagrams to the echo server, and its answers. A few at a time are on their way, so that none is lost for want of room
// however slowly they are read.
type conversation struct {
	net      *network
	answered atomic.Int64
	end      func()
}

// converse begins one, which lasts until end is called or the test ends. With another port in each turn its sessions are new, and most of
// their packets are judged by the daemon; else it is one session, which the XDP program comes to carry.
func (n *network) converse(anotherPort bool) *conversation {
	n.t.Helper()
	c := &conversation{net: n}
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		conn, err := c.dial()
		for turn := uint64(1); err == nil; turn++ {
			select {
			case <-stop:
				_ = conn.Close()
				return
			case <-time.After(3 * time.Millisecond): // some hundred sessions are enough
			}
			if err = c.turn(conn, turn); err == nil && anotherPort {
				_ = conn.Close()
				conn, err = c.dial()
			}
		}
		n.t.Errorf("another port in each turn %v, after %d answers: %v", anotherPort, c.answered.Load(), err)
	})
	c.end = sync.OnceFunc(func() { close(stop); running.Wait() })
	n.t.Cleanup(c.end)
	return c
}

func (c *conversation) dial() (conn net.Conn, err error) {
	c.net.client.Do(func() { conn, err = net.Dial("udp", net.JoinHostPort(serverIP, "7")) })
	return conn, err
}

// turn sends some datagrams, and waits until each is answered.
func (c *conversation) turn(conn net.Conn, turn uint64) error {
	const datagrams = 16
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	first := turn * datagrams
	for k := range uint64(datagrams) {
		if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, first+k)); err != nil {
			return err
		}
	}
	answer := make([]byte, 16)
	for k := range uint64(datagrams) {
		length, err := conn.Read(answer)
		if err != nil {
			return fmt.Errorf("%d of %d are answered: %w", k, datagrams, err)
		}
		if got := binary.BigEndian.Uint64(answer); length != 8 || got != first+k {
			return fmt.Errorf("answer %d of %d bytes, want %d", got, length, first+k)
		}
		c.answered.Add(1)
	}
	return nil
}

// goesOn waits for answers to what is sent after the call.
func (c *conversation) goesOn(what string) {
	c.net.t.Helper()
	before := c.answered.Load()
	eventually(c.net.t, what, func() bool { return c.answered.Load() > before+100 || c.net.t.Failed() })
}

// TestReloadBridge adds a second pair to a bridge that carries traffic, takes it away and adds it again, with what it has left on its
// interfaces and without, and changes its options. The first pair loses nothing. What becomes of the second while nobody reads it is as on_failure says.
func TestReloadBridge(t *testing.T) {
	for _, onFailure := range []string{"closed", "open"} {
		t.Run(onFailure, func(t *testing.T) { testReloadBridge(t, onFailure) })
	}
}

func testReloadBridge(t *testing.T, onFailure string) {
	n := bridged(t)
	n.serve()
	n2 := &network{t: t, tap: n.tap, bpffs: n.bpffs}
	n2.connect("lan1", "wan1", []string{client2IP + "/16"}, []string{server2IP + "/16"})
	one, two := n.pairs(onFailure)
	d := startWith(n, one, "")
	carried, judged := n.converse(false), n.converse(true)
	eventually(t, "the program carries a session of the first pair", func() bool { return d.status().Ledger.Packets.Offloaded > 100 })
	dropped := func() uint64 {
		st := d.status()
		return st.Sources["lan"].Kernel.Dropped + st.Sources["wan"].Kernel.Dropped
	}
	atStart := dropped() // what came before the workers did
	firstGoesOn := func(when string) {
		t.Helper()
		carried.goesOn("a session of the first pair, " + when)
		judged.goesOn("new sessions of the first pair, " + when)
		if now := dropped(); now != atStart {
			t.Errorf("%s: %d frames of the first pair were dropped unread, %d at the start", when, now, atStart)
		}
	}

	permitted := newStream(t, n2.client, n2.server, client2IP, server2IP, 9)
	forbidden := newStream(t, n2.server, n2.client, server2IP, client2IP, 9)
	secondIsJudged := func(when string) {
		t.Helper()
		permitted.flows("what is permitted, " + when)
		forbidden.stops("what is not permitted, " + when)
		began := count(d.events(), "RT_FLOW_SESSION_DENY", `policy-name="no-telnet"`, `source-address="`+client2IP+`"`)
		if err := n2.refusedBy("tcp", server2IP, 23); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("telnet, %s: %v", when, err)
		}
		eventually(t, "telnet is recorded, "+when, func() bool {
			return count(d.events(), "RT_FLOW_SESSION_DENY", `policy-name="no-telnet"`, `source-address="`+client2IP+`"`) > began
		})
	}
	secondIsUnread := func(when string) {
		t.Helper()
		if onFailure == "open" {
			permitted.flows("past nobody, " + when)
			forbidden.flows("past nobody, " + when)
		} else {
			permitted.stops("nothing crosses, " + when)
		}
		if st := d.status(); len(st.Sources) != 2 {
			t.Errorf("%s: sources %v", when, st.Sources)
		}
		for _, name := range []string{"lan1", "wan1"} {
			if x := n.tap.Link(name).Attrs().Xdp; x == nil || !x.Attached {
				t.Errorf("%s: no program is left on %s", when, name)
			}
			if out := n.command("bypass", "status", name); count(out, name, "none", onFailure, "off") != 2 || strings.Contains(out, "reads") {
				t.Errorf("%s: bypass status:\n%s", when, out)
			}
		}
	}

	d.reread(two)
	secondIsJudged("when it came")
	firstGoesOn("when the second came")
	d.reread(one)
	secondIsUnread("when it went")
	firstGoesOn("when the second went")
	before := d.status()
	d.reread(two)
	secondIsJudged("when it came again")
	firstGoesOn("when the second came again")
	after := d.status()
	bypassed, lost := after.Ledger.Packets.Bypassed-before.Ledger.Packets.Bypassed, after.Ledger.Packets.Lost-before.Ledger.Packets.Lost
	if onFailure == "open" && bypassed == 0 || onFailure == "closed" && (bypassed != 0 || lost == 0) {
		t.Errorf("while nobody read the second pair %d packets went past, and %d were lost", bypassed, lost)
	}

	d.reread(strings.Replace(two, "[sources.lan-2]", "[sources.lan-2]\nattach = \"generic\"", 1))
	secondIsJudged("with other options")
	firstGoesOn("when the second had other options")
	if mode := d.status().Sources["lan-2"].Mode; mode != "generic" {
		t.Errorf("attached as %s", mode)
	}
	for _, name := range []string{"lan-2", "wan-2"} {
		if count(d.stderr.String(), "is open as it is configured now", "source="+name+" gap=") != 1 {
			t.Errorf("source %s was not opened again:\n%s", name, d.stderr.String())
		}
	}

	d.reread(one)
	secondIsUnread("when it went again")
	firstGoesOn("when the second went again")
	if onFailure == "closed" { // nobody reads it, so that its programs can be taken off, and the daemon begins anew with it
		n.command("detach", "lan1")
		pins, err := os.ReadDir(filepath.Join(n.bpffs, "pipelined"))
		n.must(err)
		if out := n.command("bypass", "status"); len(pins) != 2 || count(out, "lan0", "reads") != 2 {
			t.Errorf("pins %v, and bypass status:\n%s", pins, out)
		}
		permitted.stops("nothing crosses without a program")
		d.reread(two)
		secondIsJudged("when it came the third time")
		firstGoesOn("when the second came the third time")
	}

	carried.end()
	judged.end()
	t.Logf("%d and %d datagrams of the first pair were answered", carried.answered.Load(), judged.answered.Load())
	d.stop()
	if onFailure == "open" {
		permitted.flows("past nobody, when the daemon has ended")
	}
	n.detach("lan1", "wan1")
	permitted.stops("nothing crosses without a program")
}
