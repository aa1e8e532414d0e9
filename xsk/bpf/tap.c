// The XDP program of an AF_XDP tap or bridge.
//
// In a tap it takes IPv4 and IPv6 packets from the kernel and hands them to the AF_XDP socket of their receive queue, also
// those behind VLAN tags, in PPPoE sessions and behind MPLS labels: what core/packet decodes. Everything else stays with the
// kernel. In a bridge it takes every frame but those of the pass types. Whatever its mode, the kernel keeps everything whose
// queue has no socket, so that a program without a daemon does not cut off the interface.
//
// Every packet is counted under exactly one of the causes below, so that their sum is what the interface received.
//
// There is no license section: no helper used here is reserved to GPL programs.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

// What happened to a packet: its index in counters. The Go constants are generated from it.
enum cause {
	REDIRECTED,     // given to the socket of its queue
	PASS_NOT_IP,    // neither IPv4 nor IPv6 (ARP, LLDP, ...), or too short to tell; not in a bridge
	PASS_PORT,      // TCP or UDP to a pass port
	PASS_NEIGHBOUR, // IPv6 neighbour discovery, while there are pass ports
	PASS_NO_SOCKET, // nobody reads the queue
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

// Set by the loader before the program is verified. One bit per destination port; a frozen map, so a test of one bit is
// a load and no call. have_pass_ports lets the verifier remove the whole inspection when there is nothing to look for.
volatile const __u8 have_pass_ports = 0;
volatile const __u64 pass_ports[65536 / 64] = {};

// Set in the same way. bridge is set in a bridge; pass_types has one bit per Ethernet type, and is used in a bridge only.
volatile const __u8 bridge = 0;
volatile const __u64 pass_types[65536 / 64] = {};

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

static __always_inline __u16 load16(const __u8 *p)
{
	return (__u16)p[0] << 8 | p[1];
}

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

// redirect hands a packet to the socket of its queue.
static __always_inline int redirect(struct xdp_md *ctx)
{
	// The last argument is what to do when the queue has no socket.
	int action = bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);

	count(action == XDP_REDIRECT ? REDIRECTED : PASS_NO_SOCKET);
	return action;
}

SEC("xdp")
int tap(struct xdp_md *ctx)
{
	const __u8 *data = (void *)(long)ctx->data;
	const __u8 *end = (void *)(long)ctx->data_end;
	const __u8 *p = data + ETHERNET_HEADER;
	enum cause cause = REDIRECTED;
	__u16 type;

	if (p > end)
		return bridge ? redirect(ctx) : pass(PASS_NOT_IP);
	type = load16(p - 2);
	if (bridge) {
		if (pass_types[type / 64] >> (type % 64) & 1)
			return pass(PASS_TYPE);
		return redirect(ctx);
	}

#pragma unroll
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		if (!is_tag(type))
			break;
		p += VLAN_HEADER;
		if (p > end)
			return pass(PASS_NOT_IP);
		type = load16(p - 2);
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
