// Package ruleset looks through the rules of nftables, also those of iptables-nft, for what makes the kernel tell about its traffic.
package ruleset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/nfnetlink"
)

// Summary is what the rules of a network namespace do.
type Summary struct {
	Tracks    bool                // a rule makes the kernel track connections
	Groups    map[uint16]bool     // of NFLOG, that a rule logs to
	KernelLog bool                // a rule logs to the kernel's own log
	Chains    map[string][]string // by interface: chains that rules send what comes in there to
}

// Errors of Read.
var (
	ErrUnloaded = errors.New("whether nftables is loaded is not known")
	ErrLegacy   = errors.New("there are rules of iptables-legacy, which are not looked through")
)

// Read looks through the rules of the network namespace of the calling thread. It asks nothing of a kernel that has nftables not loaded,
// and has no rules of it then. With [ErrLegacy] the summary is that of nftables alone.
func Read(m *machine.Machine) (s Summary, err error) {
	s.Groups, s.Chains = make(map[uint16]bool), make(map[string][]string)
	if m.Module("nf_tables", "nf_tables_dump_rules_start") == machine.Present {
		if err := s.read(); err != nil {
			return s, err
		}
	} else if !m.Has("proc/kallsyms") {
		return s, ErrUnloaded
	}
	for _, name := range []string{"ip_tables_names", "ip6_tables_names"} {
		tables, err := fs.ReadFile(m.Root, "proc/thread-self/net/"+name)
		if err == nil && len(tables) > 0 {
			return s, ErrLegacy
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s, fmt.Errorf("the tables of iptables: %w", err)
		}
	}
	return s, nil
}

// maxDumps is how often the rules are read that change while they are read.
const maxDumps = 10

func (s *Summary) read() error {
	var answers [][]byte
	err := error(unix.EINTR)
	for i := 0; errors.Is(err, unix.EINTR) && i < maxDumps; i++ {
		request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP)
		request.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
		answers, err = request.Execute(unix.NETLINK_NETFILTER, 0)
	}
	if err != nil {
		return fmt.Errorf("list the rules of nftables: %w", err)
	}
	for _, answer := range answers {
		if len(answer) < nl.SizeofNfgenmsg {
			continue
		}
		for _, expression := range values(answer[nl.SizeofNfgenmsg:], unix.NFTA_RULE_EXPRESSIONS) {
			var from origin
			for _, element := range values(expression, unix.NFTA_LIST_ELEM) {
				name, data := text(first(element, unix.NFTA_EXPR_NAME)), first(element, unix.NFTA_EXPR_DATA)
				s.expression(name, data)
				if chain := from.expression(name, data); chain != "" && !slices.Contains(s.Chains[from.name], chain) {
					s.Chains[from.name] = append(s.Chains[from.name], chain)
				}
			}
		}
	}
	return nil
}

// tracking are the names of expressions, and of matches and targets of iptables in lower case, that make the kernel track connections.
func tracking(name string) bool {
	switch name {
	case "ct", "masq", "nat", "redir", "connlimit", "synproxy", "flow_offload",
		"conntrack", "state", "connmark", "connbytes", "connlabel", "helper", "cluster", "masquerade", "snat", "dnat", "redirect", "netmap", "connsecmark":
		return true
	}
	return false
}

// expression takes an expression of a rule, with its data.
func (s *Summary) expression(name string, data []byte) {
	switch name {
	case "log":
		if group := first(data, unix.NFTA_LOG_GROUP); len(group) == 2 {
			s.Groups[binary.BigEndian.Uint16(group)] = true
		} else {
			s.KernelLog = true
		}
	case "match": // of iptables
		s.Tracks = s.Tracks || tracking(strings.ToLower(text(first(data, unix.NFTA_MATCH_NAME))))
	case "target": // of iptables
		target := text(first(data, unix.NFTA_TARGET_NAME))
		s.Tracks = s.Tracks || tracking(strings.ToLower(target))
		// struct xt_nflog_info: the length to copy, the group.
		if info := first(data, unix.NFTA_TARGET_INFO); target == "NFLOG" && len(info) >= 6 {
			s.Groups[binary.NativeEndian.Uint16(info[4:])] = true
		}
		s.KernelLog = s.KernelLog || target == "LOG"
	default:
		s.Tracks = s.Tracks || tracking(name)
	}
}

// origin is what a rule has asked so far about the interface that a packet comes in on.
type origin struct {
	loaded bool   // its name is what is compared next
	name   string // that it has to be, "" for any
}

// expression takes an expression of the rule. It returns the chain that it sends packets of the one interface to, if it does.
func (o *origin) expression(name string, data []byte) (chain string) {
	loaded := o.loaded
	o.loaded = false
	switch name {
	case "meta":
		key := first(data, unix.NFTA_META_KEY)
		o.loaded = len(key) == 4 && binary.BigEndian.Uint32(key) == unix.NFT_META_IIFNAME
	case "cmp":
		op, value := first(data, unix.NFTA_CMP_OP), first(first(data, unix.NFTA_CMP_DATA), unix.NFTA_DATA_VALUE)
		// A shorter value is the beginning of a name: "lan*".
		if loaded && len(op) == 4 && binary.BigEndian.Uint32(op) == unix.NFT_CMP_EQ && len(value) == unix.IFNAMSIZ {
			o.name = text(value)
		}
	case "immediate":
		verdict := first(first(data, unix.NFTA_IMMEDIATE_DATA), unix.NFTA_DATA_VERDICT)
		if o.name != "" {
			return text(first(verdict, unix.NFTA_VERDICT_CHAIN))
		}
	}
	return ""
}

// values returns the values of the attributes of a type, up to the first that is malformed.
func values(b []byte, typ uint16) (list [][]byte) {
	for is, value, rest, ok := nfnetlink.NextAttr(b); ok; is, value, rest, ok = nfnetlink.NextAttr(rest) {
		if is == typ {
			list = append(list, value)
		}
	}
	return list
}

// first returns the value of the first attribute of a type, nil if there is none.
func first(b []byte, typ uint16) []byte {
	if list := values(b, typ); len(list) > 0 {
		return list[0]
	}
	return nil
}

// text returns a string that ends with a zero byte.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}
