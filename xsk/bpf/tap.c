// The XDP program of an AF_XDP tap or bridge.
//
// In a tap it takes IPv4 and IPv6 packets from the kernel and hands them to the AF_XDP socket of their receive queue, also
// those behind VLAN tags, in PPPoE sessions and behind MPLS labels: what core/packet decodes. Everything else stays with the
// kernel, which also keeps everything whose queue has no socket.
//
// In a bridge it takes every frame but those of the pass types. It stays on the interface when the daemon ends. Frames that
// nobody reads go to the peer, or end, as the daemon has left it in control.
//
// What the daemon has decided about it carries itself: packets of the flow table are counted, and in a bridge go to the peer at
// once; in a tap they end. Everything about a flow that is not an ordinary packet of it comes up to the socket all the same.
//
// Every packet is counted under exactly one of the causes below, or of those of enum fate, so that their sum is what the
// interface received.
//
// There is no license section: no helper used here is reserved to GPL programs.

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// What happened to a packet: its index in counters. The Go constants are generated from it.
enum cause {
	REDIRECTED,     // given to the socket of its queue
	PASS_NOT_IP,    // neither IPv4 nor IPv6 (ARP, LLDP, ...), or too short to tell; not in a bridge
	PASS_PORT,      // TCP or UDP to a pass port
	PASS_NEIGHBOUR, // IPv6 neighbour discovery, while there are pass ports
	PASS_NO_SOCKET, // nobody reads the queue; not in a bridge
	PASS_TYPE,      // in a bridge: a pass type
	CAUSES,
};

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1); // the loader sets the number of queues
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CAUSES);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

// What happened to a frame of a bridge that no daemon was given: its index in unread. The map outlives the daemon, and the next
// one tells what is in it.
enum fate {
	PAST_NO_SOCKET, // to the peer: nobody reads the queue
	PAST_STALLED,   // to the peer: whoever reads the queue has not come for too long
	PAST_BY_HAND,   // to the peer: an operator has said so
	UNREAD_DROPPED, // nobody reads the queue, and nothing is to go past; or there is no peer
	PAST_SENT,      // of those to the peer, what it took: not while it is down, nor what is too long for it. No fate: counted beside them
	UNREADS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, UNREADS);
	__type(key, __u32);
	__type(value, __u64);
} unread SEC(".maps");

// What daemons and operators tell the program of a bridge, and each other: it outlives the daemon, too. What is in the first
// twelve bytes is the same in every layout.
struct settings {
	__u32 magic;  // the loader sets it, and the layout of this struct and of unread
	__u32 layout;
	__u32 bypass; // 1: every frame goes to the peer, by hand
	__u32 open;   // 1: frames that nobody reads go to the peer
	__u64 patience;      // in jiffies: how long whoever reads a queue may be away
	__u32 peer;          // index of the interface under key 0 of the map peer, for people
	__u32 promiscuous;   // 1: the interface was made so, and is not to stay so
	__u64 reserved[4];   // the rest of a cache line, so that the program does not share what follows
	__u64 told[UNREADS]; // of unread, what daemons have told
	__u64 lost;          // of those to the peer, how many it is known not to have taken
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} control SEC(".maps");

// Since when frames wait for whoever reads a queue, in jiffies, 0 if none does. The program sets it, and the reader, which has the
// map mapped, clears it each time it comes: while there are no frames nobody has to do anything. A cache line for each.
struct wait {
	__u64 since;
	__u64 padding[7];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); // the loader sets the number of queues
	__type(key, __u32);
	__type(value, struct wait);
} waiting SEC(".maps");

// Where frames of a bridge go that nobody has read, and those of flows: the interface of the peer, under key 0, with past_leaves and
// carried_leaves. Empty while there is none.
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} peer SEC(".maps"), peer_of_flows SEC(".maps");

// The packets of flows that the program has carried: forwarded to the peer in a bridge, ended in a tap. They are under no cause. Beside
// the counts is the time of the last tick, so that the clock is read once in a tick and not for each packet.
struct tally {
	__u64 packets, bytes; // of the frames
	__u64 sent;           // of packets, in a bridge: what the peer took
	__u64 tick;           // in jiffies
	__u64 now;            // CLOCK_MONOTONIC in ns, to a tick
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tally);
} carried SEC(".maps");

// The packets of one direction of a flow: what they all have in common. There is no padding.
struct flow_key {
	__u32 source[4], destination[4];     // in network order, an IPv4 address as ::ffff:a.b.c.d
	__u16 source_port, destination_port; // in network order
	__u32 what;                          // bits 0-7 PROTOCOL_TCP or PROTOCOL_UDP, 8-19 and 20-31 VLAN ids, the outer one first; 0 = none
} __attribute__((aligned(8)));

// What the program and the daemon, which has them mapped, know of a flow: a cache line. The word is
//
//	bit 63     the program carries the packets
//	bit 62     not yet: they come up. In a bridge bits 0-31 count them, and each packet has the word, as it is then, before it as
//	           metadata: when the daemon has sent a packet, and the word is still the same, none is behind it
//	bits 36-61 packets that were carried
//	bits 0-35  bytes of IP in them
//
// and changes by comparing and swapping only, so that a packet is counted exactly if it is carried, whenever the daemon takes the
// counts out or ends the carrying. When one of the counts has reached half of its room, packets come up until that was done.
struct flow {
	struct flow_key key; // the daemon alone writes to it: what last, and only while no program may be using the record
	__u64 word;
	__u64 seen;              // when a packet was carried last: CLOCK_MONOTONIC in ns, to a tick
	__u32 end, acknowledged; // TCP: the highest sequence number behind a packet, and the last that a packet acknowledges
};

// A hash table with open addressing: the record of a flow is at the index that slot_of returns, or within PROBES - 1 behind it. Nothing is
// behind a record that was never used, or is not any more, and has 0 for what; one that was only taken out has what no packet has.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); // the loader sets it, to a power of two
	__type(key, __u32);
	__type(value, struct flow);
} records SEC(".maps");

// Set by the loader before the program is verified. One bit per destination port; a frozen map, so a test of one bit is
// a load and no call. have_pass_ports lets the verifier remove the whole inspection when there is nothing to look for.
volatile const __u8 have_pass_ports = 0;
volatile const __u64 pass_ports[65536 / 64] = {};

// Set in the same way. bridge is set in a bridge; pass_types has one bit per Ethernet type, and is used in a bridge only.
volatile const __u8 bridge = 0;
volatile const __u64 pass_types[65536 / 64] = {};

// Set in the same way if there is a flow table: how many bits an index in it has, and what nobody outside can guess.
volatile const __u8 offload = 0;
volatile const __u8 slot_bits = 0;
volatile const __u64 hash_keys[6] = {};

// Set in the same way if a frame may take several buffers.
volatile const __u8 several = 0;

// How long a frame may be that the peer takes, in bytes; 0 = it takes none. Set while the program runs.
volatile __u32 longest = 0;

#define ETHERNET_HEADER 14
#define VLAN_HEADER 4
#define PPPOE_HEADER 6
#define MPLS_LABEL 4
#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define MAX_VLAN_TAGS 8
#define MAX_MPLS_LABELS 16
#define MAX_OFFSET 255 // of an IP header: more than all of these headers have
#define MAX_IPV6_EXTENSIONS 4

#define TYPE_IPV4 0x0800
#define TYPE_IPV6 0x86dd
#define TYPE_CTAG 0x8100
#define TYPE_STAG 0x88a8
#define TYPE_OLD_STAG1 0x9100
#define TYPE_OLD_STAG2 0x9200
#define TYPE_OLD_STAG3 0x9300
#define TYPE_MPLS 0x8847
#define TYPE_MPLS_UPSTREAM 0x8848
#define TYPE_PPPOE 0x8864

#define PPP_IPV4 0x0021
#define PPP_IPV6 0x0057
#define PPP_MPLS 0x0281
#define PPP_MPLS_UPSTREAM 0x0283

#define PROTOCOL_HOP_BY_HOP 0
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_ROUTING 43
#define PROTOCOL_FRAGMENT 44
#define PROTOCOL_ICMPV6 58
#define PROTOCOL_DESTINATION_OPTIONS 60

#define MIN_HOPS 2 // left, of packets that are carried
#define TCP_HEADER 20
#define UDP_HEADER 8
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define TCP_URG 0x20
#define TCP_SLACK (1 << 20) // how far a sequence number may be from the last

#define FLOW_ACTIVE (1ULL << 63)
#define FLOW_PENDING (1ULL << 62)
#define FLOW_PACKET (1ULL << 36)
#define FLOW_HALF_FULL (1ULL << 61 | 1ULL << 35)
#define FLOW_TRIES 16 // to change a word that other processors change, too
#define PROBES 32    // how far a record may be from its place, and one more

#define ICMPV6_ROUTER_SOLICITATION 133
#define ICMPV6_REDIRECT 137

static __always_inline void count(enum cause cause)
{
	__u32 key = cause;
	__u64 *n = bpf_map_lookup_elem(&counters, &key);

	if (n)
		(*n)++; // per CPU, and XDP is not preempted by XDP
}

static __always_inline int pass(enum cause cause)
{
	count(cause);
	return XDP_PASS;
}

// load16 reads two bytes that may be anywhere.
static __always_inline __u16 load16(const __u8 *p)
{
	return (__u16)p[0] << 8 | p[1];
}

// raw32 reads four bytes as they are, of a header behind Ethernet and VLAN tags alone: where a processor needs words to be aligned, drivers
// put packets so that these are. read16 and read32 read numbers there.
static __always_inline __u32 raw32(const __u8 *p) { return *(const __u32 *)p; }
static __always_inline __u16 read16(const __u8 *p) { return bpf_ntohs(*(const __u16 *)p); }
static __always_inline __u32 read32(const __u8 *p) { return bpf_ntohl(raw32(p)); }

// pass_transport reports whether the kernel gets a TCP or UDP segment that starts at p.
static __always_inline int pass_transport(const __u8 *p, const __u8 *end)
{
	__u16 port;

	if (p + 4 > end)
		return 0;
	port = load16(p + 2);
	return pass_ports[port / 64] >> (port % 64) & 1;
}

// ipv4_cause returns PASS_PORT or REDIRECTED. Only the first fragment has ports: the others are redirected.
static __always_inline enum cause ipv4_cause(const __u8 *ip, const __u8 *end)
{
	__u32 length;

	if (ip + IPV4_HEADER > end)
		return REDIRECTED;
	length = (ip[0] & 0x0f) * 4;
	if (length < IPV4_HEADER || (load16(ip + 6) & 0x1fff))
		return REDIRECTED;
	if (ip[9] != PROTOCOL_TCP && ip[9] != PROTOCOL_UDP)
		return REDIRECTED;
	return pass_transport(ip + length, end) ? PASS_PORT : REDIRECTED;
}

// ipv6_cause returns PASS_PORT, PASS_NEIGHBOUR or REDIRECTED. Ports behind more than MAX_IPV6_EXTENSIONS extension
// headers are not looked for.
static __always_inline enum cause ipv6_cause(const __u8 *ip, const __u8 *end)
{
	const __u8 *p = ip + IPV6_HEADER;
	__u8 protocol;

	if (p > end)
		return REDIRECTED;
	protocol = ip[6];

#pragma unroll
	for (int i = 0; i < MAX_IPV6_EXTENSIONS; i++) {
		switch (protocol) {
		case PROTOCOL_HOP_BY_HOP:
		case PROTOCOL_ROUTING:
		case PROTOCOL_DESTINATION_OPTIONS:
			if (p + 8 > end)
				return REDIRECTED;
			protocol = p[0];
			p += (p[1] + 1) * 8;
			break;
		case PROTOCOL_FRAGMENT:
			if (p + 8 > end || (load16(p + 2) & 0xfff8))
				return REDIRECTED;
			protocol = p[0];
			p += 8;
			break;
		}
	}

	if (protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP)
		return pass_transport(p, end) ? PASS_PORT : REDIRECTED;
	if (protocol == PROTOCOL_ICMPV6 && p + 1 <= end && p[0] >= ICMPV6_ROUTER_SOLICITATION && p[0] <= ICMPV6_REDIRECT)
		return PASS_NEIGHBOUR;
	return REDIRECTED;
}

// ip_cause says what happens to the packet whose IP header is at an offset, while there are pass ports. It is a function of
// its own so that the verifier looks at it once and not for every combination of headers in front of it.
__attribute__((noinline)) enum cause ip_cause(struct xdp_md *ctx, __u32 offset, __u32 type)
{
	const __u8 *end = (void *)(long)ctx->data_end;
	const __u8 *ip = (void *)(long)ctx->data;

	if (offset > MAX_OFFSET)
		return REDIRECTED;
	ip += offset;
	return type == TYPE_IPV4 ? ipv4_cause(ip, end) : ipv6_cause(ip, end);
}

static __always_inline int is_tag(__u16 type)
{
	return type == TYPE_CTAG || type == TYPE_STAG || type == TYPE_OLD_STAG1 || type == TYPE_OLD_STAG2 ||
	       type == TYPE_OLD_STAG3;
}

// ppp_type reads the PPPoE and PPP headers at *p, moves *p behind them, and returns the Ethernet type of what follows, 0 if
// it is nothing of ours. Control frames of the session are not.
static __always_inline __u16 ppp_type(const __u8 **p, const __u8 *end)
{
	const __u8 *ppp = *p + PPPOE_HEADER;
	__u16 protocol;

	if (ppp + 2 > end || (*p)[1] != 0)
		return 0;
	protocol = ppp[0];
	if (protocol & 1) {
		*p = ppp + 1;
	} else {
		protocol = load16(ppp);
		*p = ppp + 2;
	}
	switch (protocol) {
	case PPP_IPV4:
		return TYPE_IPV4;
	case PPP_IPV6:
		return TYPE_IPV6;
	case PPP_MPLS:
	case PPP_MPLS_UPSTREAM:
		return TYPE_MPLS;
	}
	return 0;
}

// mpls_type reads the labels at *p, moves *p behind them, and returns the Ethernet type of what follows by the version of
// its IP header, 0 if it has none.
static __always_inline __u16 mpls_type(const __u8 **p, const __u8 *end)
{
	const __u8 *label = *p;

#pragma unroll
	for (int i = 0; i < MAX_MPLS_LABELS; i++) {
		if (label + MPLS_LABEL > end)
			return 0;
		label += MPLS_LABEL;
		if (label[-2] & 1) // the bottom of the stack
			goto packet;
	}
	return 0;
packet:
	if (label + 1 > end)
		return 0;
	*p = label;
	switch (label[0] >> 4) {
	case 4:
		return TYPE_IPV4;
	case 6:
		return TYPE_IPV6;
	}
	return 0;
}

// redirect hands a packet of a tap to the socket of its queue.
static __always_inline int redirect(struct xdp_md *ctx)
{
	// The last argument is what to do when the queue has no socket.
	int action = bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);

	count(action == XDP_REDIRECT ? REDIRECTED : PASS_NO_SOCKET);
	return action;
}

// What an ordinary packet of a flow says of itself.
struct segment {
	struct flow_key key;
	__u32 bytes;                       // of IP
	__u32 sequence, end, acknowledged; // TCP
	__u8 ends;                         // TCP: it begins or ends a connection, and is not carried
};

// read_transport reads the TCP or UDP header at p, of a packet with so many bytes behind its IP header, all of them in the frame.
static __always_inline int read_transport(struct segment *s, __u8 protocol, const __u8 *p, const __u8 *end, __u32 bytes)
{
	if (protocol == PROTOCOL_TCP) {
		__u32 header;
		__u8 flags;

		if (p + TCP_HEADER > end || bytes < TCP_HEADER)
			return 0;
		header = (p[12] >> 4) * 4;
		flags = p[13];
		if (header < TCP_HEADER || header > bytes)
			return 0;
		s->ends = (flags & (TCP_FIN | TCP_SYN | TCP_RST)) != 0;
		if ((flags & TCP_URG) || (!(flags & TCP_ACK) && !s->ends))
			return 0;
		s->sequence = read32(p + 4);
		s->end = s->sequence + (bytes - header);
		s->acknowledged = read32(p + 8);
	} else if (protocol == PROTOCOL_UDP) {
		__u32 length;

		if (p + UDP_HEADER > end || bytes < UDP_HEADER)
			return 0;
		length = read16(p + 4);
		if (length < UDP_HEADER || length > bytes)
			return 0;
	} else {
		return 0;
	}
	*(__u32 *)&s->key.source_port = raw32(p); // and the other
	s->key.what |= protocol;
	return 1;
}

// read_ipv4 reads a packet without options that is whole, is no fragment and has hops left. length is that of the frame from the packet on.
static __always_inline int read_ipv4(struct segment *s, const __u8 *ip, const __u8 *end, __u32 length)
{
	if (ip + IPV4_HEADER > end || ip[0] != 0x45 || (read16(ip + 6) & 0xbfff) || ip[8] < MIN_HOPS)
		return 0;
	s->bytes = read16(ip + 2);
	if (s->bytes < IPV4_HEADER || s->bytes > length)
		return 0;
	s->key.source[2] = s->key.destination[2] = bpf_htonl(0xffff);
	s->key.source[3] = raw32(ip + 12);
	s->key.destination[3] = raw32(ip + 16);
	return read_transport(s, ip[9], ip + IPV4_HEADER, end, s->bytes - IPV4_HEADER);
}

// read_ipv6 is the same for IPv6. Addresses that are IPv4-mapped are nobody's on a wire.
static __always_inline int read_ipv6(struct segment *s, const __u8 *ip, const __u8 *end, __u32 length)
{
	__u32 payload;

	if (ip + IPV6_HEADER > end || ip[0] >> 4 != 6 || ip[7] < MIN_HOPS)
		return 0;
	payload = read16(ip + 4);
	if (payload == 0 || payload + IPV6_HEADER > length)
		return 0;
	s->bytes = payload + IPV6_HEADER;
	for (int i = 0; i < 4; i++) {
		s->key.source[i] = raw32(ip + 8 + 4 * i);
		s->key.destination[i] = raw32(ip + 24 + 4 * i);
	}
	if (s->key.source[0] == 0 && s->key.source[1] == 0)
		return 0;
	return read_transport(s, ip[6], ip + IPV6_HEADER, end, payload);
}

// read_segment reads a frame with up to two VLAN tags. It returns 0 if it is nothing that is carried, nor ends what is.
static __always_inline int read_segment(struct segment *s, const __u8 *data, const __u8 *end, __u32 length)
{
	const __u8 *p = data + ETHERNET_HEADER;
	__u16 type;

	if (p > end)
		return 0;
	length -= ETHERNET_HEADER;
	type = read16(p - 2);
#pragma unroll
	for (int i = 0; i < 2; i++) {
		if (!is_tag(type))
			break;
		p += VLAN_HEADER;
		if (p > end)
			return 0;
		length -= VLAN_HEADER;
		s->key.what |= (read16(p - 4) & 0x0fff) << (8 + 12 * i);
		type = read16(p - 2);
	}
	if (type == TYPE_IPV4)
		return read_ipv4(s, p, end, length);
	if (type == TYPE_IPV6)
		return read_ipv6(s, p, end, length);
	return 0;
}

// stamp puts the word of a flow before a packet of it that comes up. Where the driver has no metadata there is none.
static __always_inline void stamp(struct xdp_md *ctx, __u64 word)
{
	__u64 *meta;

	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(word)))
		return;
	meta = (void *)(long)ctx->data_meta;
	if ((void *)(meta + 1) <= (void *)(long)ctx->data)
		*meta = word;
}

// comes_up counts and stamps a packet of a flow that is to be carried soon. It reports false if it is carried by now.
static __always_inline int comes_up(struct xdp_md *ctx, struct flow *f, __u64 word)
{
	for (int i = 0; i < FLOW_TRIES; i++) {
		__u64 before;

		if (!(word & FLOW_PENDING))
			return !(word & FLOW_ACTIVE);
		before = __sync_val_compare_and_swap(&f->word, word, word + 1);
		if (before == word) {
			stamp(ctx, word + 1);
			return 1;
		}
		word = before;
	}
	return 1;
}

// hold_flow ends the carrying of a flow. Of one that is pending nothing is left: its word is no count.
static __always_inline void hold_flow(struct flow *f)
{
	__u64 word = *(volatile __u64 *)&f->word;

	for (int i = 0; i < FLOW_TRIES && (word & FLOW_PENDING); i++) {
		__u64 before = __sync_val_compare_and_swap(&f->word, word, 0);

		if (before == word)
			return;
		word = before;
	}
	__sync_fetch_and_and(&f->word, ~FLOW_ACTIVE);
}

// count_flow counts a packet into its flow if that is carried at this moment, and reports whether it is.
static __always_inline int count_flow(struct flow *f, __u32 bytes)
{
	__u64 word = *(volatile __u64 *)&f->word;

	for (int i = 0; i < FLOW_TRIES; i++) {
		__u64 before;

		if (!(word & FLOW_ACTIVE) || (word & FLOW_HALF_FULL))
			return 0;
		before = __sync_val_compare_and_swap(&f->word, word, word + FLOW_PACKET + bytes);
		if (before == word)
			return 1;
		word = before;
	}
	return 0;
}

// slot_of returns where the record of a flow should be. Each word of the key has a multiplier of its own, which nobody outside knows:
// none can choose flows that are to be in the same place. What differs between neighbours, the last bytes of addresses, is to be in
// the low bits of the words, since a product has it in all bits above.
static __always_inline __u32 slot_of(const __u64 *k)
{
	__u64 hash = bpf_be64_to_cpu(k[0]) * hash_keys[0] + bpf_be64_to_cpu(k[1]) * hash_keys[1] + bpf_be64_to_cpu(k[2]) * hash_keys[2] +
		     bpf_be64_to_cpu(k[3]) * hash_keys[3] + k[4] * hash_keys[4];

	hash ^= hash >> 32;
	return hash * hash_keys[5] >> (64 - slot_bits);
}

static __always_inline int same(const __u64 *a, const __u64 *b)
{
	return a[4] == b[4] && a[3] == b[3] && a[2] == b[2] && a[1] == b[1] && a[0] == b[0];
}

// find_behind returns where the record of a flow is that is not where it should be; 0 if it has none. It is a function of its own so that the
// verifier looks at it once.
__attribute__((noinline)) __u32 find_behind(const struct flow_key *key, __u32 slot)
{
	if (!key)
		return 0;
	for (int i = 1; i < PROBES; i++) {
		struct flow *f;

		slot = (slot + 1) & ((1U << slot_bits) - 1);
		f = bpf_map_lookup_elem(&records, &slot);
		if (!f || !f->key.what)
			return 0;
		if (same((const void *)&f->key, (const void *)key))
			return slot;
	}
	return 0;
}

// find returns the record of a flow, NULL if it has none.
static __always_inline struct flow *find(const struct flow_key *key)
{
	__u32 slot = slot_of((const void *)key);
	struct flow *f = bpf_map_lookup_elem(&records, &slot);

	if (!f || !f->key.what)
		return 0;
	if (same((const void *)&f->key, (const void *)key))
		return f;
	slot = find_behind(key, slot);
	return slot ? bpf_map_lookup_elem(&records, &slot) : 0;
}

// tick returns the time of the present tick.
static __always_inline __u64 tick(struct tally *c)
{
	__u64 jiffies = bpf_jiffies64();

	if (c->tick != jiffies) {
		c->tick = jiffies;
		c->now = bpf_ktime_get_coarse_ns();
	}
	return c->now;
}

// carry carries the packet if the daemon has said so, and returns the action; -1 if it has not.
static __always_inline int carry(struct xdp_md *ctx)
{
	const __u8 *data = (void *)(long)ctx->data;
	const __u8 *end = (void *)(long)ctx->data_end;
	__u32 length = several ? bpf_xdp_get_buff_len(ctx) : end - data; // of all buffers of the frame
	__u32 first = 0;
	struct segment s = {};
	int action = XDP_DROP;
	struct tally *c;
	struct flow *f;
	__u64 word;

	if (!read_segment(&s, data, end, length))
		return -1;
	f = find(&s.key);
	if (!f)
		return -1;
	if (s.ends) {
		// What follows must not overtake it.
		hold_flow(f);
		return -1;
	}
	word = *(volatile __u64 *)&f->word;
	if (!(word & FLOW_ACTIVE) && (!bridge || comes_up(ctx, f, word)))
		return -1;
	if ((__u8)s.key.what == PROTOCOL_TCP && s.sequence - f->end + TCP_SLACK > 2 * TCP_SLACK)
		return -1; // forged, or so much was lost: the daemon knows more
	if (bridge) {
		if (length > longest)
			return -1;
		action = bpf_redirect_map(&peer_of_flows, 0, XDP_ABORTED);
		if (action != XDP_REDIRECT)
			return -1;
	}
	c = bpf_map_lookup_elem(&carried, &first);
	if (!c || !count_flow(f, s.bytes))
		return -1;
	f->seen = tick(c);
	if ((__u8)s.key.what == PROTOCOL_TCP) {
		if ((__s32)(s.end - f->end) > 0)
			f->end = s.end;
		f->acknowledged = s.acknowledged;
	}
	c->packets++; // per CPU, and XDP is not preempted by XDP
	c->bytes += length;
	return action;
}

// count_unread is a function of its own, so that the names of the causes are in what the loader is made from.
static __attribute__((noinline)) void count_unread(enum fate cause)
{
	__u32 key = cause;
	__u64 *n = bpf_map_lookup_elem(&unread, &key);

	if (n)
		(*n)++;
}

// past sends a frame to the peer.
static __always_inline int past(enum fate cause)
{
	int action = bpf_redirect_map(&peer, 0, XDP_DROP);

	count_unread(action == XDP_REDIRECT ? cause : UNREAD_DROPPED);
	return action;
}

// unread_frame does without whoever should read the queue.
static __always_inline int unread_frame(struct settings *c)
{
	if (c->open)
		return past(PAST_NO_SOCKET);
	count_unread(UNREAD_DROPPED);
	return XDP_DROP;
}

// forward hands a frame of a bridge to the socket of its queue, unless it is carried, or nobody reads the queue.
static __always_inline int forward(struct xdp_md *ctx)
{
	__u32 first = 0, queue = ctx->rx_queue_index;
	struct settings *c = bpf_map_lookup_elem(&control, &first);
	struct wait *w = bpf_map_lookup_elem(&waiting, &queue);
	__u64 since;

	if (!c || !w)
		return XDP_ABORTED; // the first is there, and the second, because no queue has a higher number
	if (c->bypass)
		return past(PAST_BY_HAND);
	if (!bpf_map_lookup_elem(&sockets, &queue))
		return unread_frame(c); // what was decided does not outlive who decided it, and waits for nobody
	since = *(volatile __u64 *)&w->since;
	if (since && c->open && bpf_jiffies64() - since > c->patience)
		return past(PAST_STALLED);
	if (offload) {
		int action = carry(ctx);

		if (action >= 0)
			return action;
	}
	if (bpf_redirect_map(&sockets, queue, XDP_ABORTED) != XDP_REDIRECT)
		return unread_frame(c); // it was there a moment ago
	if (!since)
		*(volatile __u64 *)&w->since = bpf_jiffies64();
	count(REDIRECTED);
	return XDP_REDIRECT;
}

SEC("xdp")
int tap(struct xdp_md *ctx)
{
	const __u8 *data = (void *)(long)ctx->data;
	const __u8 *end = (void *)(long)ctx->data_end;
	const __u8 *p = data + ETHERNET_HEADER;
	enum cause cause = REDIRECTED;
	__u16 type;

	if (offload && !bridge) {
		int action = carry(ctx);

		if (action >= 0)
			return action;
	}
	if (p > end)
		return bridge ? forward(ctx) : pass(PASS_NOT_IP);
	type = read16(p - 2);
	if (bridge) {
		if (pass_types[type / 64] >> (type % 64) & 1)
			return pass(PASS_TYPE);
		return forward(ctx);
	}

#pragma unroll
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		if (!is_tag(type))
			break;
		p += VLAN_HEADER;
		if (p > end)
			return pass(PASS_NOT_IP);
		type = read16(p - 2);
	}
	if (type == TYPE_PPPOE)
		type = ppp_type(&p, end);
	if (type == TYPE_MPLS || type == TYPE_MPLS_UPSTREAM)
		type = mpls_type(&p, end);

	if (type != TYPE_IPV4 && type != TYPE_IPV6)
		return pass(PASS_NOT_IP);
	if (have_pass_ports)
		cause = ip_cause(ctx, p - data, type);
	if (cause != REDIRECTED)
		return pass(cause);

	return redirect(ctx);
}

// What is redirected to the peer is not sent yet: the kernel drops it, and tells nobody, if the interface is down, or does not take frames of
// that length. These programs run on what it has taken, a moment later and on the same CPU.

SEC("xdp/devmap")
int past_leaves(struct xdp_md *ctx __attribute__((unused)))
{
	count_unread(PAST_SENT);
	return XDP_PASS;
}

SEC("xdp/devmap")
int carried_leaves(struct xdp_md *ctx __attribute__((unused)))
{
	__u32 first = 0;
	struct tally *c = bpf_map_lookup_elem(&carried, &first);

	if (c)
		c->sent++;
	return XDP_PASS;
}
