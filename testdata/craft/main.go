// Command craft makes what ordinary tools do not: the attack frames, the odd hosts and the small test captures that
// testdata/record.sh needs.
//
//	craft attack -i IFACE NAME...   send the named attacks as raw frames (AF_PACKET, needs CAP_NET_RAW)
//	craft list                      name, number of frames and meaning of every attack
//	craft index CAPTURE             where in a recording each attack is: first and last frame number, time offset
//	craft serve PROTO=ADDR...       the servers: http, https, ssh, smtp, trickle (TCP), echo, ntp (UDP)
//	craft talk KIND ADDR [ARG]      one client dialogue: ssh, smtp, abort, half, hold, stay, syn, udp, ntp, trace
//	craft vlan -i IFACE -id N -tap NAME
//	                                a VLAN sub-interface in user space, for kernels without 8021q
//	craft tidy IN.pcapng OUT.pcapng[.gz]
//	                                sort by time, keep interface names, drop what describes the recording machine
//	craft captures DIR              the small captures for format and error tests; always the same bytes
//
// Everything it sends is a function of this source: the same attack is the same bytes every time, so that `index` can
// find it again in a recording by comparing whole frames.
package main

import (
	"fmt"
	"os"
)

func main() {
	commands := map[string]func([]string) error{
		"attack":   attackCommand,
		"list":     listCommand,
		"index":    indexCommand,
		"serve":    serveCommand,
		"talk":     talkCommand,
		"vlan":     vlanCommand,
		"tidy":     tidyCommand,
		"captures": capturesCommand,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: craft attack|list|index|serve|talk|vlan|tidy|captures ... (see the package comment)")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "craft %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
