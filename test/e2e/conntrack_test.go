package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/logbuffer"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// flow is a connection, as conntrack(8) prints it and as a record of its beginning or end tells it.
type flow struct {
	protocol            int
	client, server      string // address, and port or identifier of an ICMP echo
	translated          string // the same of both ends as the server sees them, client first; "" for none
	state               string // of TCP
	fromClient, replies traffic
}

type traffic struct{ packets, bytes int }

// key tells a flow from the others: a test uses no port twice.
func (f flow) key() string { return fmt.Sprintf("%d %s %s", f.protocol, f.client, f.server) }

// listener is conntrack(8), printing the events of the router's table.
type listener struct {
	t   testing.TB
	out logbuffer.Buffer
}

// listen starts to listen to the events, and returns when nothing of them can be missed any more.
func (f *firewall) listen() *listener {
	f.t.Helper()
	l := &listener{t: f.t}
	cmd := exec.Command("conntrack", "--event", "--output", "timestamp,id")
	cmd.Stdout = &l.out
	before := subscribers(f.t, f.tap)
	f.tap.Start(cmd)
	eventually(f.t, "conntrack listens", func() bool { return subscribers(f.t, f.tap) > before })
	return l
}

// subscribers returns how many sockets of a host listen to events of netfilter.
func subscribers(tb testing.TB, h *nettest.Host) (n int) {
	tb.Helper()
	for _, s := range netfilterSockets(tb, h) {
		if s.groups != "00000000" {
			n++
		}
	}
	return n
}

// netfilterSocket is what the kernel tells of a netlink socket.
type netfilterSocket struct {
	groups           string
	waiting, dropped int // bytes that wait to be read, messages that there was no room for
}

// netfilterSockets returns those of a host that are for netfilter.
func netfilterSockets(tb testing.TB, h *nettest.Host) (list []netfilterSocket) {
	tb.Helper()
	var text []byte
	var err error
	h.Do(func() { text, err = os.ReadFile("/proc/thread-self/net/netlink") })
	if err != nil {
		tb.Fatal(err)
	}
	const netfilter = "12"
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line) // address, protocol, port, groups, bytes to read, to write, dump, references, drops, inode
		if f[1] != netfilter {
			continue
		}
		s := netfilterSocket{groups: f[3]}
		for field, to := range map[int]*int{4: &s.waiting, 8: &s.dropped} {
			if *to, err = strconv.Atoi(f[field]); err != nil {
				tb.Fatalf("%q: %v", line, err)
			}
		}
		list = append(list, s)
	}
	return list
}

// ofType returns the flows of the events of a type, NEW or DESTROY, by their keys.
func (l *listener) ofType(name string) map[string]flow {
	l.t.Helper()
	flows := make(map[string]flow)
	for line := range strings.Lines(l.out.String()) {
		if strings.Contains(line, "["+name+"]") {
			f := parseFlow(l.t, line)
			if _, twice := flows[f.key()]; twice {
				l.t.Errorf("%s of %s twice", name, f.key())
			}
			flows[f.key()] = f
		}
	}
	return flows
}

var (
	protocolNumber = regexp.MustCompile(`(?:^|\] |\]\t)\s*[a-z0-9]+\s+(\d+) `)
	member         = regexp.MustCompile(`\b(src|dst|sport|dport|id|packets|bytes)=(\S+)`)
	tcpState       = regexp.MustCompile(` ([A-Z_0-9]{4,}) src=`)
)

// parseFlow reads a line of conntrack(8). Members stand in it once for each direction.
func parseFlow(t testing.TB, line string) (f flow) {
	t.Helper()
	number := protocolNumber.FindStringSubmatch(line)
	if number == nil {
		t.Fatalf("no protocol in %q", line)
	}
	f.protocol, _ = strconv.Atoi(number[1])
	if state := tcpState.FindStringSubmatch(line); state != nil {
		f.state = state[1]
	}
	var sides [2]map[string]string
	side := -1
	for _, m := range member.FindAllStringSubmatch(line, -1) {
		if m[1] == "src" {
			side++
			sides[side] = make(map[string]string)
		}
		if sides[side][m[1]] == "" { // the last id is that of the entry
			sides[side][m[1]] = m[2]
		}
	}
	end := func(side int, address, port string) string {
		if sides[side][port] == "" {
			port = "id"
		}
		return sides[side][address] + " " + sides[side][port]
	}
	f.client, f.server = end(0, "src", "sport"), end(0, "dst", "dport")
	if icmp(f) {
		f.server = sides[0]["dst"]
	}
	seenClient, seenServer := end(1, "dst", "dport"), end(1, "src", "sport")
	if icmp(f) {
		seenServer = sides[1]["src"]
	}
	if seenClient != f.client || seenServer != f.server {
		f.translated = seenClient + " " + seenServer
	}
	for i, to := range []*traffic{&f.fromClient, &f.replies} {
		to.packets, _ = strconv.Atoi(sides[i]["packets"])
		to.bytes, _ = strconv.Atoi(sides[i]["bytes"])
	}
	return f
}
