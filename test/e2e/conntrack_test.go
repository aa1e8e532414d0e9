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
	t   *testing.T
	out logbuffer.Buffer
}

// listen starts to listen to the events, and returns when nothing of them can be missed any more.
func (f *firewall) listen() *listener {
	f.t.Helper()
	l := &listener{t: f.t}
	cmd := exec.Command("conntrack", "--event", "--output", "timestamp,id", "--buffer-size", "33554432")
	cmd.Stdout = &l.out
	f.tap.Start(cmd)
	eventually(f.t, "conntrack listens", func() bool { return subscribed(f.t, cmd.Process.Pid) })
	return l
}

// subscribed reports whether a process has a netlink socket with groups of netfilter.
func subscribed(t *testing.T, pid int) bool {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/netlink", pid))
	if err != nil {
		t.Fatal(err)
	}
	const netfilter = "12"
	for line := range strings.Lines(string(text)) { // sk, protocol, port, groups
		if f := strings.Fields(line); f[1] == netfilter && f[3] != "00000000" {
			return true
		}
	}
	return false
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
func parseFlow(t *testing.T, line string) (f flow) {
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
