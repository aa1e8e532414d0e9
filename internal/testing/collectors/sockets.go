package collectors

import (
	"os"
	"strconv"
	"strings"
)

// listening reports whether somebody listens on "tcp:PORT", "udp:PORT" or the path of a socket.
func listening(what string) bool {
	network, port, ok := strings.Cut(what, ":")
	if !ok {
		_, err := os.Stat(what)
		return err == nil
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return false
	}
	for _, s := range sockets(network) {
		if s.local == n && s.state == listenState[network] {
			return true
		}
	}
	return false
}

// listenState is the state of a socket that takes connections, or datagrams from anybody, as /proc/net numbers states.
var listenState = map[string]int{"tcp": 10, "udp": 7}

type socket struct {
	local, state int
	received     int // bytes that were not read
}

// sockets reads /proc/net/tcp or udp.
func sockets(network string) (list []socket) {
	for _, name := range []string{network, network + "6"} {
		text, err := os.ReadFile("/proc/net/" + name)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 10 || !strings.HasSuffix(f[0], ":") {
				continue
			}
			_, local, _ := strings.Cut(f[1], ":")
			_, received, _ := strings.Cut(f[4], ":")
			var s socket
			s.local = hex(local)
			s.state = hex(f[3])
			s.received = hex(received)
			list = append(list, s)
		}
	}
	return list
}

func hex(s string) int {
	n, err := strconv.ParseInt(s, 16, 64)
	if err != nil {
		return -1
	}
	return int(n)
}

// Unread returns how many bytes the peers of connections to a TCP port have sent and nobody there has read.
func Unread(port string) (bytes int) {
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0
	}
	for _, s := range sockets("tcp") {
		if s.local == n && s.state != listenState["tcp"] {
			bytes += s.received
		}
	}
	return bytes
}
