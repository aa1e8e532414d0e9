package ruleset

import (
	"errors"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// TestRead reads rules of namespaces.
func TestRead(t *testing.T) {
	nettest.Require(t)
	for name, tt := range map[string]struct {
		rules    string
		iptables [][]string
		want     Summary
	}{
		"none":        {"", nil, Summary{Groups: map[uint16]bool{}}},
		"no tracking": {"table ip a { chain b { type filter hook forward priority 0; tcp dport 22 counter drop; }; }", nil, Summary{Groups: map[uint16]bool{}}},
		"state":       {"table inet a { chain b { type filter hook forward priority 0; ct state new; }; }", nil, Summary{Tracks: true, Groups: map[uint16]bool{}}},
		"translation": {"table ip a { chain b { type nat hook postrouting priority 100; oifname wan0 masquerade; }; }", nil, Summary{Tracks: true, Groups: map[uint16]bool{}}},
		"groups":      {"table ip a { chain b { type filter hook forward priority 0; log prefix \"DROP:x \" group 5; log group 300 drop; log prefix \"y\"; }; }", nil, Summary{Groups: map[uint16]bool{5: true, 300: true}, KernelLog: true}},
		"zones": {`table inet a { chain lan_in { }; chain wan_in { }; chain b { type filter hook forward priority 0;
			iifname "lan0" jump lan_in; iifname lan0 tcp dport 22 goto wan_in; iifname lan0 tcp dport 23 jump wan_in; iifname "wan0" goto wan_in;
			iifname "dmz*" jump lan_in; iifname != "x" jump lan_in; oifname "y" jump lan_in; iifname "z" accept; iifname { "lan1", "lan2" } jump lan_in; jump lan_in; }; }`,
			nil, Summary{Groups: map[uint16]bool{}, Chains: map[string][]string{"lan0": {"lan_in", "wan_in"}, "wan0": {"wan_in"}}}},
		"iptables":     {"", [][]string{{"-A", "FORWARD", "-m", "conntrack", "--ctstate", "NEW", "-j", "NFLOG", "--nflog-group", "7"}}, Summary{Tracks: true, Groups: map[uint16]bool{7: true}}},
		"its own log":  {"", [][]string{{"-A", "FORWARD", "-j", "LOG"}}, Summary{Groups: map[uint16]bool{}, KernelLog: true}},
		"its verdicts": {"", [][]string{{"-A", "FORWARD", "-p", "tcp", "-m", "tcp", "--dport", "22", "-j", "REJECT"}}, Summary{Groups: map[uint16]bool{}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := nettest.NewRouter(t)
			if tt.rules != "" {
				r.Rules(tt.rules)
			}
			for _, args := range tt.iptables {
				nettest.RequireCommands(t, "iptables-nft")
				r.Run("iptables-nft", args...)
			}
			r.Do(func() {
				got, err := Read(machine.This())
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestReadNothing reads of kernels that are not asked.
func TestReadNothing(t *testing.T) {
	symbols := &fstest.MapFile{Data: []byte("0 t other\n")}
	for name, tt := range map[string]struct {
		root fstest.MapFS
		want error
	}{
		"nothing known": {fstest.MapFS{}, ErrUnloaded},
		"not loaded":    {fstest.MapFS{"proc/kallsyms": symbols}, nil},
		"iptables, not in use": {fstest.MapFS{
			"proc/kallsyms": symbols, "proc/thread-self/net/ip_tables_names": &fstest.MapFile{},
		}, nil},
		"iptables": {fstest.MapFS{
			"proc/kallsyms": symbols, "proc/thread-self/net/ip6_tables_names": &fstest.MapFile{Data: []byte("filter\n")},
		}, ErrLegacy},
	} {
		if s, err := Read(&machine.Machine{Root: tt.root}); !errors.Is(err, tt.want) || s.Tracks || len(s.Groups) > 0 {
			t.Errorf("%s: %+v, %v, want %v", name, s, err, tt.want)
		}
	}
}

// FuzzExpression gives any data of an expression.
func FuzzExpression(f *testing.F) {
	f.Add("log", []byte{6, 0, 1, 0, 0, 5, 0, 0})
	f.Add("target", []byte{10, 0, 1, 0, 'N', 'F', 'L', 'O', 'G', 0, 0, 0, 10, 0, 3, 0, 0, 0, 0, 0, 7, 0})
	f.Add("cmp", []byte{8, 0, 2, 0, 0, 0, 0, 0, 24, 0, 3, 0, 20, 0, 1, 0, 'l', 'a', 'n', '0', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, name string, data []byte) {
		s := Summary{Groups: make(map[uint16]bool)}
		s.expression(name, data)
		o := origin{loaded: true, name: "lan0"}
		o.expression(name, data)
	})
}
