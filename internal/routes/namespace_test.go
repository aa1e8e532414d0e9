package routes

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Zones of the router in these tests.
const (
	lan = 1 + iota
	wan
	backup
	tunnel
)

// router is a host with interfaces lan0, wan0, wan1 and other0, a zone table of which other0 is not in any zone, and a follower.
type router struct {
	*nettest.Host
	t        *testing.T
	zones    *zone.Table
	config   Config // of the follower
	runs     bool
	follower *Follower
	applied  chan struct{}
	warned   chan string
}

func newRouter(t *testing.T, configured ...string) *router {
	t.Helper()
	nettest.Require(t)
	r := &router{Host: nettest.NewHost(t), t: t, applied: make(chan struct{}, 1), warned: make(chan string, 16), config: Config{Routes: true}}
	for _, name := range []string{"lan0", "wan0", "wan1", "other0"} {
		r.add(name)
	}
	r.Address("lan0", "10.0.0.1/24")
	r.Address("lan0", "2001:db8:1::1/64")
	r.Address("wan0", "192.0.2.1/24")
	r.Address("wan0", "2001:db8:2::1/64")
	r.Address("wan1", "198.51.100.1/24")
	r.Address("other0", "203.0.113.1/24")
	list := []zone.Zone{
		{ID: lan, Name: "lan", Interfaces: []string{"lan0"}}, {ID: wan, Name: "wan", Interfaces: []string{"wan0"}},
		{ID: backup, Name: "backup", Interfaces: []string{"wan1"}}, {ID: tunnel, Name: "tunnel", Interfaces: []string{"tun0"}},
	}
	for _, p := range configured {
		list[tunnel-1].Prefixes = append(list[tunnel-1].Prefixes, netip.MustParsePrefix(p))
	}
	ids := make(map[string]uint32)
	for _, name := range []string{"lan0", "wan0", "wan1"} {
		ids[name] = uint32(r.Link(name).Attrs().Index)
	}
	r.zones = zone.New(list, nil, ids)
	return r
}

// open opens a follower, which neither reads nor runs. It is closed at the end of the test.
func (r *router) open() {
	r.t.Helper()
	var err error
	r.config.Zones = r.zones
	r.config.Warn = func(msg string, args ...any) { r.warned <- fmt.Sprint(msg, args) }
	r.config.Applied = func() {
		select {
		case r.applied <- struct{}{}:
		default:
		}
	}
	r.Do(func() { r.follower, err = open(r.config) })
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		r.run()
		if err := r.follower.Close(); err != nil && !errors.Is(err, os.ErrClosed) { // the test has closed a part of it
			r.t.Error(err)
		}
	})
}

// run runs the follower, if it does not run.
func (r *router) run() {
	if !r.runs {
		r.runs = true
		go r.follower.run()
	}
}

// follow opens a follower, which reads and runs.
func (r *router) follow() {
	r.t.Helper()
	r.open()
	r.follower.read(time.Now())
	r.run()
}

// add adds an interface, whose cable leads to a host of its own.
func (r *router) add(name string) {
	r.t.Helper()
	nettest.Cable(r.Host, name, nettest.NewHost(r.t), "end0", 1)
}

func (r *router) ip(args ...string) {
	r.t.Helper()
	r.Run("ip", args...)
}

func (r *router) zoneOf(address string) uint16 {
	addr, family := packet.AddrFrom(netip.MustParseAddr(address))
	return r.zones.ByPrefix(&addr, family)
}

// until waits until what is checked is right, which returns what is not, "" for nothing.
func (r *router) until(what string, check func() string) {
	r.t.Helper()
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	for {
		problem := check()
		if problem == "" {
			return
		}
		select {
		case <-r.applied:
		case <-late.C:
			r.t.Fatalf("%s: %s; %+v", what, problem, r.follower.Status())
		}
	}
}

// expect waits until addresses are in these zones.
func (r *router) expect(what string, want map[string]uint16) {
	r.t.Helper()
	r.until(what, func() (problem string) {
		for address, z := range want {
			if got := r.zoneOf(address); got != z {
				problem += fmt.Sprintf("%s is in zone %d, not %d; ", address, got, z)
			}
		}
		return problem
	})
}

// expectInterface waits until the interface of that name, which is there, is in this zone and has that name in records, "" for none.
func (r *router) expectInterface(what, name string, want uint16, inRecords string) {
	r.t.Helper()
	index := uint32(r.Link(name).Attrs().Index)
	_, names := r.zones.NameMaps()
	r.until(what, func() string {
		if z, id := r.zones.ByKernel(index); z != want || names[id] != inRecords {
			return fmt.Sprintf("%s is in zone %d, its id is %d, %q", name, z, id, names[id])
		}
		return ""
	})
}

func TestFollow(t *testing.T) {
	r := newRouter(t)
	r.ip("route", "add", "default", "via", "192.0.2.254")
	r.ip("-6", "route", "add", "default", "via", "2001:db8:2::fe")
	r.follow()
	r.expect("at the start", map[string]uint16{
		"10.0.0.7": lan, "10.0.0.1": lan, "10.0.0.255": lan, "192.0.2.7": wan, "198.51.100.7": backup, "203.0.113.7": 0, "8.8.8.8": wan, "127.0.0.1": 0,
		"224.0.0.1": 0, "255.255.255.255": 0,
		"2001:db8:1::7": lan, "2001:db8:2::7": wan, "2001:4860::1": wan, "fe80::1": 0, "ff02::1": 0,
	})
	for name, z := range map[string]uint16{"lan0": lan, "wan0": wan, "wan1": backup} {
		r.expectInterface("at the start", name, z, name)
	}
	r.expectInterface("at the start", "other0", 0, "")

	for _, step := range []struct {
		commands []string
		want     map[string]uint16
	}{
		{[]string{"route add 172.16.0.0/12 via 10.0.0.2"}, map[string]uint16{"172.20.1.1": lan}},
		{[]string{"route add 172.20.0.0/16 via 198.51.100.2"}, map[string]uint16{"172.20.1.1": backup, "172.21.1.1": lan}},
		{[]string{"route replace 172.20.0.0/16 via 192.0.2.2"}, map[string]uint16{"172.20.1.1": wan}},
		{[]string{"route add 172.20.0.0/16 via 198.51.100.2 metric 50"}, map[string]uint16{"172.20.1.1": wan}},
		{[]string{"route del 172.20.0.0/16 via 192.0.2.2"}, map[string]uint16{"172.20.1.1": backup}},
		{[]string{"route add 172.20.0.0/16 via 10.0.0.2 metric 40"}, map[string]uint16{"172.20.1.1": lan}},
		{[]string{"route del 172.20.0.0/16 metric 40"}, map[string]uint16{"172.20.1.1": backup}},
		{[]string{"route del 172.20.0.0/16"}, map[string]uint16{"172.20.1.1": lan}},
		{[]string{"route del 172.16.0.0/12"}, map[string]uint16{"172.20.1.1": wan}},
		{[]string{"route replace default via 198.51.100.254"}, map[string]uint16{"8.8.8.8": backup, "172.20.1.1": backup, "10.0.0.7": lan, "2001:4860::1": wan}},
		{[]string{"route add blackhole 172.16.0.0/12", "route add unreachable 172.31.0.0/16"}, map[string]uint16{"172.20.1.1": 0, "172.31.0.1": 0}},
		{[]string{"route add 172.20.0.0/16 nexthop via 198.51.100.2 nexthop via 192.0.2.2"}, map[string]uint16{"172.20.1.1": backup, "172.21.1.1": 0}},
		{[]string{"route add local 172.24.0.0/16 dev wan0", "route add 172.24.7.0/24 via 10.0.0.2"}, map[string]uint16{"172.24.7.7": wan}},
		{[]string{"route del local 172.24.0.0/16 dev wan0"}, map[string]uint16{"172.24.7.7": lan, "172.24.8.7": 0}},
		{[]string{"route add 172.25.0.0/16 via 10.0.0.2 tos 0x10", "route add 172.26.0.0/16 via 10.0.0.2 table 100", "route add 172.27.0.0/16 via 10.0.0.2"},
			map[string]uint16{"172.25.1.1": 0, "172.26.1.1": 0, "172.27.1.1": lan}},
		{[]string{"-6 route add 2001:db8:7::/48 via 2001:db8:1::2"}, map[string]uint16{"2001:db8:7::1": lan}},
		{[]string{"-6 route replace default dev lan0"}, map[string]uint16{"2001:4860::1": lan, "fe80::1": 0}},
		{[]string{"-6 route del 2001:db8:7::/48", "-6 route add prohibit 2001:db8:7::/48"}, map[string]uint16{"2001:db8:7::1": 0}},
		{[]string{"nexthop add id 7 via 10.0.0.3 dev lan0", "nexthop add id 8 group 7", "route add 172.28.0.0/16 nhid 7", "route add 172.29.0.0/16 nhid 8"},
			map[string]uint16{"172.28.1.1": lan, "172.29.1.1": lan}},
		{[]string{"nexthop replace id 7 via 192.0.2.3 dev wan0"}, map[string]uint16{"172.28.1.1": wan, "172.29.1.1": wan}},
		{[]string{"nexthop del id 7"}, map[string]uint16{"172.28.1.1": 0, "172.29.1.1": 0}},
		{[]string{"link set wan1 down"}, map[string]uint16{"8.8.8.8": 0, "198.51.100.7": 0, "172.20.1.1": wan}},
	} {
		for _, command := range step.commands {
			r.ip(strings.Fields(command)...)
		}
		r.expect(fmt.Sprint(step.commands), step.want)
	}
	st := r.follower.Status()
	if st.Error != "" || st.Routes == 0 || st.Zones != 3 || st.Interfaces < 5 || st.Prefixes == 0 || st.Updated.IsZero() {
		t.Errorf("%+v", st)
	}
}

// TestNextHopIDs: the kernel may tell of the next hops of routes by their ids alone.
func TestNextHopIDs(t *testing.T) {
	r := newRouter(t)
	r.Run("sysctl", "-qw", "net.ipv4.nexthop_compat_mode=0")
	r.ip("nexthop", "add", "id", "7", "via", "10.0.0.3", "dev", "lan0")
	r.ip("nexthop", "add", "id", "8", "group", "7")
	r.ip("nexthop", "add", "id", "9", "blackhole")
	r.ip("route", "add", "172.28.0.0/16", "nhid", "7")
	r.ip("route", "add", "172.29.0.0/16", "nhid", "8")
	r.ip("route", "add", "172.29.1.0/24", "nhid", "9")
	r.follow()
	r.expect("at the start", map[string]uint16{"172.28.1.1": lan, "172.29.0.1": lan, "172.29.1.1": 0})
	r.ip("nexthop", "replace", "id", "7", "via", "192.0.2.3", "dev", "wan0")
	r.expect("another next hop", map[string]uint16{"172.28.1.1": wan, "172.29.0.1": wan, "172.29.1.1": 0})
}

// TestConfiguredPrefixesWin: what a prefix says holds, whatever the routes are.
func TestConfiguredPrefixesWin(t *testing.T) {
	r := newRouter(t, "172.16.0.0/12", "2001:db8:7::/48")
	r.ip("route", "add", "172.20.0.0/16", "via", "10.0.0.2")
	r.ip("route", "add", "172.0.0.0/8", "via", "192.0.2.2")
	r.follow()
	want := map[string]uint16{"172.20.1.1": tunnel, "172.1.1.1": wan, "2001:db8:7::1": tunnel}
	r.expect("at the start", want)
	r.ip("route", "add", "172.21.0.0/16", "via", "10.0.0.2")
	r.ip("-6", "route", "add", "2001:db8::/32", "via", "2001:db8:1::2")
	want["2001:db8:8::1"], want["172.21.1.1"] = lan, tunnel
	r.expect("later", want)
}

// TestInterfaces has interfaces that are renamed, removed, made again and new.
func TestInterfaces(t *testing.T) {
	r := newRouter(t)
	r.follow()
	r.add("tun0")
	r.Address("tun0", "172.16.0.1/24")
	r.expectInterface("a new one", "tun0", tunnel, "tun0")
	r.expect("a new one", map[string]uint16{"172.16.0.7": tunnel})

	r.Delete("tun0")
	r.expect("gone", map[string]uint16{"172.16.0.7": 0})
	r.add("tun0")
	r.Address("tun0", "172.16.0.1/24")
	r.expectInterface("made again", "tun0", tunnel, "tun0")
	r.expect("made again", map[string]uint16{"172.16.0.7": tunnel})

	r.ip("link", "set", "wan1", "name", "wan9")
	r.add("new0")
	r.expectInterface("renamed", "wan9", backup, "wan1")
	r.expect("renamed", map[string]uint16{"198.51.100.7": backup})
	r.add("wan1")
	r.expectInterface("another of that name", "wan1", backup, "wan1")
	r.expectInterface("another of that name", "wan9", 0, "")
	r.expect("another of that name", map[string]uint16{"198.51.100.7": 0})

	r.ip("link", "property", "add", "dev", "wan1", "altname", "uplink9")
	r.ip("link", "set", "wan1", "down")
	r.ip("link", "set", "wan1", "name", "x1")
	r.expectInterface("renamed again", "x1", backup, "wan1")
	r.ip("link", "property", "add", "dev", "wan9", "altname", "wan1")
	r.expectInterface("another name", "wan9", backup, "wan1")
	r.expect("another name", map[string]uint16{"198.51.100.7": backup})
}

// TestOverrun has changes that the socket has no room for: everything is read then.
func TestOverrun(t *testing.T) {
	r := newRouter(t)
	r.open()
	r.follower.read(time.Now())
	var err error
	setErr := r.follower.changes.raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) // the kernel's least
	})
	if err := errors.Join(err, setErr); err != nil {
		t.Fatal(err)
	}
	batch := ""
	for i := range 2000 {
		batch += fmt.Sprintf("route add 172.16.%d.%d/32 via 10.0.0.2\n", i/256, i%256)
	}
	r.batch(batch + "route add 172.20.0.0/16 via 198.51.100.2\n")
	r.run()
	r.expect("after all", map[string]uint16{"172.20.1.1": backup, "172.16.7.7": lan, "172.16.7.255": 0})
	if st := r.follower.Status(); st.Overruns == 0 {
		t.Errorf("%+v", st)
	}
}

// TestFailure has a follower that cannot read: zones stay as they are, and the status says why.
func TestFailure(t *testing.T) {
	r := newRouter(t)
	r.follow()
	if err := r.follower.queries.close(); err != nil {
		t.Fatal(err)
	}
	r.ip("route", "add", "10.0.0.128/25", "via", "192.0.2.254")
	select {
	case warning := <-r.warned:
		if !strings.Contains(warning, "cannot be read") {
			t.Error(warning)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("no warning")
	}
	if st := r.follower.Status(); st.Error == "" || st.Since.IsZero() || st.Reads != 1 || st.Routes == 0 {
		t.Errorf("%+v", st)
	}
	if z := r.zoneOf("10.0.0.129"); z != lan {
		t.Errorf("zone %d", z)
	}
}

// TestNothingRead has a follower that could not read anything yet, and is told of changes.
func TestNothingRead(t *testing.T) {
	r := newRouter(t)
	r.open()
	if err := r.follower.queries.close(); err != nil {
		t.Fatal(err)
	}
	r.follower.read(time.Now())
	r.ip("nexthop", "add", "id", "7", "via", "10.0.0.3", "dev", "lan0")
	r.ip("route", "add", "172.28.0.0/16", "nhid", "7")
	for range 2 {
		datagram, err := r.follower.changes.receive(time.Now().Add(30 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		r.follower.matter(datagram)
	}
	r.run()
	if st := r.follower.Status(); st.Error == "" || st.Reads != 0 || !st.Updated.IsZero() {
		t.Errorf("%+v", st)
	}
	if z := r.zoneOf("172.28.0.1"); z != 0 {
		t.Errorf("zone %d", z)
	}
}

// batch runs many commands of ip.
func (r *router) batch(commands string) {
	r.t.Helper()
	file := filepath.Join(r.t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(commands), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.ip("-batch", file)
}
