#!/usr/bin/env bash
# Records testdata/edge.pcapng.gz again: a router and its neighbours in network namespaces, ordinary traffic, attacks, and
# what arrives on the router's three interfaces. Nothing leaves the namespaces, which are gone at the end.
#
#   sudo testdata/record.sh [OUTPUT.pcapng.gz]      takes about a minute; needs root and the tools listed below
#
#                       client1, client2 (trust)                    server, attacker, isp ── far
#                              │ 10.0.1.0/24, 2001:db8:1::/64              │ 198.51.100.0/24, 2001:db8:f::/64
#                             lan0 ─────────────── rt ─────────────────── wan0 ── wan0.100 ── partner (203.0.113.0/24)
#                                                   │
#                                                 dmz0   192.0.2.0/24, 2001:db8:2::/64: web, mail
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
output=$(realpath -m "${1:-$here/edge.pcapng.gz}")

[ "$(id -u)" = 0 ] || { echo "record.sh: must be root, to make network namespaces" >&2; exit 1; }
missing=()
for tool in go ip sysctl ethtool dumpcap capinfos nmap hping3 dnsmasq ncat curl dig ping ss; do
	command -v "$tool" >/dev/null || missing+=("$tool")
done
if [ ${#missing[@]} -gt 0 ]; then
	echo "record.sh: missing: ${missing[*]}" >&2
	exit 1
fi

p=edge$$-             # prefix of our namespaces
tmp=$(mktemp -d)
namespaces=()

cleanup() {
	status=$?
	trap - EXIT INT TERM
	for pid in $(jobs -rp); do kill "$pid" 2>/dev/null || true; done
	for ns in "${namespaces[@]}"; do # whatever else still runs in there was started here
		for pid in $(ip netns pids "$ns" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null || true; done
	done
	wait 2>/dev/null || true
	for ns in "${namespaces[@]}"; do ip netns del "$ns" || true; done
	rm -rf "$tmp"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { echo "record.sh: $*"; }
in_ns() { ip netns exec "$p$1" "${@:2}"; }
# Traffic may fail (some of it must); what counts is what is recorded, and `craft index` checks that.
try() { in_ns "$@" >>"$tmp/try.log" 2>&1 || true; }
# In the background: for the whole recording, or for one phase (then `phase_done` waits for it).
start() { ip netns exec "$p$1" "${@:2}" >>"$tmp/servers.log" 2>&1 & }
phase=()
also() { ip netns exec "$p$1" "${@:2}" >>"$tmp/try.log" 2>&1 & phase+=($!); }
phase_done() { wait "${phase[@]}" || true; phase=(); }

(cd "$here/.." && go build -o "$tmp/craft" ./testdata/craft)

# ---- the network ----------------------------------------------------------------------------------------------
namespace() {
	ip netns add "$p$1"
	namespaces+=("$p$1")
	# No duplicate address detection and no router solicitation: addresses work at once.
	in_ns "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0 \
		net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
	in_ns "$1" ip link set lo up
}
# What a network card would do later (superframes, checksums, tags) has to be done before the packet is recorded.
plain() { in_ns "$1" ethtool -K "$2" tx off rx off sg off tso off gso off gro off >/dev/null 2>&1; }
ports=0
# cable NS IFACE MAC SEGMENT: an interface and its port on the segment's bridge
cable() {
	ports=$((ports + 1))
	local port=$4-$ports
	ip -n "${p}sw" link add "$port" type veth peer name "$2" address "$3" netns "$p$1"
	ip -n "${p}sw" link set "$port" master "$4" up
	plain sw "$port"; plain "$1" "$2"
	ip -n "$p$1" link set "$2" up
	last_port=$port
}
addresses() { for a in "${@:3}"; do ip -n "$p$1" address add "$a" dev "$2"; done; }
host() { # host NAME SEGMENT MAC GATEWAY4 GATEWAY6 ADDRESS...
	namespace "$1"
	cable "$1" eth0 "$3" "$2"
	addresses "$1" eth0 "${@:6}"
	ip -n "$p$1" route add default via "$4"
	[ "$5" = - ] || ip -n "$p$1" route add default via "$5"
}

say "building the network"
namespace sw
# A bridge with netfilter checks and trims IP packets: a switch does not.
for table in iptables ip6tables arptables; do
	[ ! -e /proc/sys/net/bridge ] || in_ns sw sysctl -qw "net.bridge.bridge-nf-call-$table=0"
done
for segment in lan wan dmz; do
	ip -n "${p}sw" link add "$segment" type bridge stp_state 0 mcast_snooping 0
	ip -n "${p}sw" link set "$segment" up
done

namespace rt
cable rt lan0 02:00:00:01:00:01 lan; lan_port=$last_port
cable rt wan0 02:00:00:02:00:01 wan; wan_port=$last_port
cable rt dmz0 02:00:00:03:00:01 dmz; dmz_port=$last_port
addresses rt lan0 10.0.1.1/24 2001:db8:1::1/64
addresses rt wan0 198.51.100.1/24 2001:db8:f::1/64
addresses rt dmz0 192.0.2.1/24 2001:db8:2::1/64
in_ns rt sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=0

host client1 lan 02:00:00:01:00:20 10.0.1.1 2001:db8:1::1 10.0.1.20/24 2001:db8:1::20/64
host client2 lan 02:00:00:01:00:21 10.0.1.1 2001:db8:1::1 10.0.1.21/24 2001:db8:1::21/64
host server wan 02:00:00:02:00:10 198.51.100.1 2001:db8:f::1 198.51.100.10/24 2001:db8:f::10/64
host attacker wan 02:00:00:02:00:66 198.51.100.1 2001:db8:f::1 198.51.100.66/24 2001:db8:f::66/64
host isp wan 02:00:00:02:00:fd 198.51.100.1 2001:db8:f::1 198.51.100.254/24 2001:db8:f::fe/64
host web dmz 02:00:00:03:00:80 192.0.2.1 2001:db8:2::1 192.0.2.80/24 2001:db8:2::80/64
host mail dmz 02:00:00:03:00:25 192.0.2.1 2001:db8:2::1 192.0.2.25/24 2001:db8:2::25/64

# Behind the provider: one host over a link with a smaller MTU, and the network of the spoofed sources, which is silent.
namespace far
ip -n "${p}isp" link add far0 type veth peer name eth0 netns "${p}far"
plain isp far0; plain far eth0
ip -n "${p}isp" link set far0 mtu 1400 up
ip -n "${p}far" link set eth0 up
addresses isp far0 198.18.0.1/24 2001:db8:ff::1/64
addresses far eth0 198.18.0.10/24 2001:db8:ff::10/64
ip -n "${p}far" route add default via 198.18.0.1
ip -n "${p}far" route add default via 2001:db8:ff::1
in_ns isp sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ip -n "${p}isp" route add blackhole 198.19.0.0/16
ip -n "${p}rt" route add default via 198.51.100.254
ip -n "${p}rt" route add default via 2001:db8:f::fe
ip -n "${p}isp" route add 10.0.1.0/24 via 198.51.100.1 2>/dev/null || true

# Addresses that take packets and never answer.
for mute in 198.51.100.99 2001:db8:f::99; do ip -n "${p}rt" neighbour add "$mute" lladdr 02:00:00:02:00:10 dev wan0 nud permanent; done
ip -n "${p}rt" neighbour add 192.0.2.99 lladdr 02:00:00:03:00:80 dev dmz0 nud permanent

# The partner's network is tagged. Without 8021q in the kernel, `craft vlan` is the sub-interface.
vlan() { # vlan NS PARENT MAC ADDRESS
	if ! ip -n "$p$1" link add link "$2" name "$2.100" type vlan id 100 2>/dev/null; then
		start "$1" "$tmp/craft" vlan -i "$2" -id 100 -tap "$2.100"
		for _ in $(seq 50); do ip -n "$p$1" link show "$2.100" >/dev/null 2>&1 && break; sleep 0.1; done
		ip -n "$p$1" link set "$2.100" address "$3"
	fi
	ip -n "$p$1" link set "$2.100" up
	ip -n "$p$1" address add "$4" dev "$2.100"
}
namespace partner
cable partner eth0 02:00:00:02:01:07 wan
vlan rt wan0 02:00:00:02:00:01 203.0.113.1/24
vlan partner eth0 02:00:00:02:01:07 203.0.113.7/24
ip -n "${p}partner" route add default via 203.0.113.1

# ---- the servers ----------------------------------------------------------------------------------------------
start server "$tmp/craft" serve http=:80 https=:443 ssh=:22 trickle=:7000 echo=:7 ntp=:123
start server dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= --no-resolv --no-hosts --local-ttl=60 \
	--address=/example.net/198.51.100.10 --address=/example.net/2001:db8:f::10 \
	--txt-record=large.example.org,"$(printf 'a%.0s' $(seq 250))","$(printf 'b%.0s' $(seq 250))","$(printf 'c%.0s' $(seq 250))"
start far "$tmp/craft" serve http=:80
start web "$tmp/craft" serve http=:80
start mail "$tmp/craft" serve smtp=:25
in_ns web sysctl -qw net.ipv4.tcp_synack_retries=1 net.ipv4.tcp_syncookies=0
in_ns web sysctl -qw net.ipv4.tcp_max_syn_backlog=4096
listening() { for _ in $(seq 50); do [ "$(in_ns "$1" ss -Htuln "sport = :$2" | wc -l)" -gt 0 ] && return; sleep 0.1; done; say "$1 does not listen on port $2"; cat "$tmp/servers.log"; exit 1; }
for port in 80 443 22 7000 7 123 53; do listening server "$port"; done
listening far 80; listening web 80; listening mail 25
sleep 2 # neighbour and multicast chatter of new interfaces

# ---- recording ------------------------------------------------------------------------------------------------
start rt dumpcap -q -B 32 -f inbound -i lan0 -i wan0 -i dmz0 -w "$tmp/raw.pcapng"
dumpcap_pid=$!
# dumpcap says nothing when it is ready, and that can take seconds: send marker frames to each interface until one is in
# the file. `craft tidy` takes them out.
marks() { { grep -ao 'recording begins' "$tmp/raw.pcapng" 2>/dev/null || true; } | wc -l; }
for port in "$lan_port" "$wan_port" "$dmz_port"; do
	before=$(marks)
	for _ in $(seq 100); do
		in_ns sw "$tmp/craft" attack -i "$port" marker
		sleep 0.2
		[ "$(marks)" -eq "$before" ] || break
	done
	[ "$(marks)" -gt "$before" ] || { say "dumpcap does not record"; cat "$tmp/servers.log"; exit 1; }
	sleep 0.5
done

web_get() { sleep 0.1; try "$1" curl -gsS -m 5 -A client/1.0 -o /dev/null "${@:2}"; }
query() { sleep 0.1; try "$1" dig +tries=1 +time=1 +nocookie "${@:2}"; }

say "ordinary traffic"
also client1 "$tmp/craft" talk half 198.51.100.10:7000 24                 # half closed for 24 s
start client2 "$tmp/craft" talk stay 198.51.100.10:22                     # open until the end
also client2 "$tmp/craft" talk syn 198.51.100.99:80 4                     # never answered: SYN and retransmissions
try client1 "$tmp/craft" talk ntp 198.51.100.10:123
in_ns client1 "$tmp/craft" attack -i eth0 dhcp
in_ns sw "$tmp/craft" attack -i "$wan_port" lldp stp
query client1 @198.51.100.10 www.example.net A
query client1 @198.51.100.10 www.example.net AAAA
query client2 @2001:db8:f::10 www.example.net AAAA
query client2 +tcp @198.51.100.10 large.example.org TXT
query client1 @198.51.100.10 none.example.com A                           # refused by the server, which is an answer too
also client1 dig +tries=1 +time=1 @198.51.100.99 www.example.net A        # nobody answers
for size in 100 500 2000; do web_get client1 "http://198.51.100.10/$size"; done
web_get client2 http://198.51.100.10/
web_get client1 http://198.51.100.10/100000
web_get client1 -k https://198.51.100.10/3000
web_get client2 -k https://198.51.100.10/300
web_get client1 "http://[2001:db8:f::10]/1000"
web_get client2 "http://[2001:db8:f::10]/5000"
web_get client1 http://192.0.2.80/700
web_get client2 "http://[2001:db8:2::80]/700"
web_get server http://192.0.2.80/1500
web_get server "http://[2001:db8:2::80]/1500"
web_get partner http://192.0.2.80/900
web_get partner http://192.0.2.80/90
try client1 "$tmp/craft" talk ssh 198.51.100.10:22
try server "$tmp/craft" talk smtp 192.0.2.25:25
try client2 "$tmp/craft" talk smtp 192.0.2.25:25
try mail "$tmp/craft" talk ntp 198.51.100.10:123
also client1 ping -n -c 4 -i 0.3 198.51.100.10
also client2 ping -n -c 3 -i 0.3 2001:db8:f::10
also client2 ping -n -c 3 -i 0.3 -W 1 198.51.100.99                   # nobody answers
also client2 ping -n -c 2 -i 0.3 -W 1 2001:db8:f::99
also partner ping -n -c 2 -i 0.3 192.0.2.80
also client1 ping -n -c 1 -s 3000 198.51.100.10                       # fragments, both ways
also client1 ping -n -c 1 -s 3000 2001:db8:f::10
try client1 "$tmp/craft" talk abort 198.51.100.10:80                      # RST in the middle
try client1 ncat -n -w 1 198.51.100.10 8080                               # refused
try client1 ncat -n -6 -w 1 2001:db8:f::10 8080
try client1 "$tmp/craft" talk udp 198.51.100.10:9 100                     # ICMP port unreachable
try client1 "$tmp/craft" talk udp 198.51.100.10:7 4000                    # fragments, echoed
try client2 "$tmp/craft" talk udp "[2001:db8:f::10]:7" 4000
try client2 "$tmp/craft" talk udp "[2001:db8:f::10]:9" 100
try client1 "$tmp/craft" talk trace 198.18.0.10                           # time exceeded, at last port unreachable
try client1 ping -n -c 1 -W 1 -M "do" -s 1450 198.18.0.10                 # fragmentation needed
try client1 ping -n -c 1 -W 1 -M "do" -s 1400 2001:db8:ff::10             # packet too big
head -c 20000 /dev/zero | tr '\0' z >"$tmp/body"
web_get client2 --data-binary "@$tmp/body" http://198.18.0.10/post        # TCP finds the path MTU

say "what a policy would deny"
try client2 ncat -n -w 1 198.51.100.10 23                                 # trust to untrust
try client2 ncat -n -w 1 198.51.100.10 445
try client2 ncat -n -6 -w 1 2001:db8:f::10 23
also client2 "$tmp/craft" talk syn 198.51.100.99:445 2
try attacker ncat -n -w 1 192.0.2.80 23                                   # untrust to dmz
try attacker ncat -n -w 1 192.0.2.80 445
also attacker "$tmp/craft" talk syn 192.0.2.99:23 2
try attacker ncat -n -w 1 10.0.1.20 22                                    # untrust to trust
try attacker ncat -n -w 1 10.0.1.20 445
try attacker ncat -n -6 -w 1 2001:db8:1::20 23
try web ncat -n -w 1 10.0.1.21 22                                         # dmz to trust
try partner ncat -n -w 1 192.0.2.25 23                                    # partner to dmz
sleep 1

say "attacks"
attack() { in_ns attacker "$tmp/craft" attack -i eth0 -pause 100ms "$@"; }
attack land winnuke syn-fin no-flag fin-no-ack syn-frag icmp-frag icmp-large ping-death tear-drop fragments tiny-frag
attack record-route timestamp security stream-id loose-route strict-route bad-option routing-0
attack unknown-protocol spoof sctp gre esp ospf qinq malformed ntp-large
sleep 1.5
attack icmp-sweep; sleep 0.5
attack tcp-sweep; sleep 0.5
attack udp-sweep; sleep 0.5
attack udp-scan; sleep 0.5
attack tcp-scan; sleep 1.5
scan() { try attacker nmap -n -Pn -e eth0 --disable-arp-ping --max-retries 0 --min-rate 8000 --send-eth "$@"; }
scan -sS -p 1-200 192.0.2.80; sleep 1.2
scan -sF -p 20-39 192.0.2.80; sleep 0.5
scan -sN -p 20-39 192.0.2.80; sleep 0.5
scan -sX -p 20-39 192.0.2.80; sleep 0.5
scan -6 -sS -p 20-59 2001:db8:2::80; sleep 0.5
try attacker hping3 -n -q -S -p ++100 -i u1000 -c 40 192.0.2.25; sleep 0.5   # slow: 10 ports take 9 ms
try attacker "$tmp/craft" talk hold 192.0.2.25:25 40; sleep 0.5           # 40 sessions at once from one source
attack syn-flood; sleep 2
attack udp-flood; sleep 1.5
attack icmp-flood; sleep 1
phase_done

say "idle, then a little more"
sleep 12
query client2 @198.51.100.10 www.example.net A
web_get client2 http://198.51.100.10/400
web_get server http://192.0.2.80/400
try client1 ping -n -c 1 198.51.100.10
sleep 0.5

# ---- the file -------------------------------------------------------------------------------------------------
kill -INT "$dumpcap_pid"
wait "$dumpcap_pid" || true
grep 'received/dropped' "$tmp/servers.log" >"$tmp/counts" || true
sed 's/^/record.sh: /' "$tmp/counts"
if [ "$(grep -c '/0 (pcap:0/dumpcap:0' "$tmp/counts")" != 3 ]; then say "dumpcap lost packets; try again"; exit 1; fi
"$tmp/craft" tidy "$tmp/raw.pcapng" "$tmp/edge.pcapng.gz"
"$tmp/craft" index "$tmp/edge.pcapng.gz"
capinfos -caue "$tmp/edge.pcapng.gz" | tail -n +2
size=$(stat -c %s "$tmp/edge.pcapng.gz")
[ "$size" -lt 1500000 ] || { say "$size bytes: too large to ship"; exit 1; }
mv "$tmp/edge.pcapng.gz" "$output"
chmod 644 "$output"
say "wrote $output ($size bytes)"
