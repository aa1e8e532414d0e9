package nflog

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/nfnetlink"
)

// receiver is what a reader needs of its socket.
type receiver interface {
	Receive() (n int, err error)
	Datagram(i int) []byte
	Drops() (uint32, error)
}

// reader makes events of the messages of a socket. It is used by one goroutine, but for its counters.
type reader struct {
	socket   receiver
	groups   []group
	prefixes *prefixes
	losses   losses
	headers  packet.Headers
	message  message

	datagrams, at int    // of the last Receive: how many, and the next to look at
	emptied       bool   // that Receive took all that there was
	rest          []byte // of the datagram before that one
	last          int64  // when the last packet came, Unix nanoseconds

	messages  atomic.Uint64 // of packets: read
	malformed atomic.Uint64 // of them: not readable, or of a group that is not ours
}

// group is what is known of one group.
type group struct {
	number uint16
	next   uint32       // the number that its next packet has
	last   int64        // when its last packet came
	rule   *source.Rule // of packets without a prefix

	outcomes [numVerdicts]atomic.Uint64 // packets, by what the rule did
	notIP    atomic.Uint64              // packets without an IP header
	noHeader atomic.Uint64              // packets of which so little was copied, or whose IP header is so wrong, that they have no addresses
	missing  atomic.Uint64              // packets that its numbers have left out
}

// init prepares a reader; the groups are bound, and have no packets yet, at a time in Unix nanoseconds.
func (r *reader) init(socket receiver, c *Config, wall int64) {
	r.socket, r.last = socket, wall
	r.prefixes = newPrefixes(c.Patterns, c.Outcome)
	if c.Warn != nil && c.Outcome == logged {
		r.prefixes.unsaid = func(prefix string) {
			c.Warn("a prefix names no action: its packets, and those of other such prefixes, are told of as logged and accepted", "prefix", prefix,
				"example", "DROP:name", "option", "action")
		}
	}
	r.losses.threshold = uint64(c.QueueThreshold)
	r.groups = make([]group, len(c.Groups))
	for i, number := range c.Groups {
		g := &r.groups[i]
		g.number, g.last, g.rule = number, wall, r.prefixes.groupRule(number)
	}
}

// perMessage is how many events one message gives at most: a loss, and its packet.
const perMessage = 2

// Read returns what the rules have logged, see [source.EventStream].
func (r *reader) Read(b *source.EventBatch, _, wall int64) (again time.Duration, err error) {
	b.N = 0
	for {
		for len(r.rest) > 0 || r.at < r.datagrams {
			if b.N > source.EventBatchSize-perMessage {
				return 0, nil
			}
			if len(r.rest) > 0 {
				r.next(b, wall)
				continue
			}
			r.rest = r.socket.Datagram(r.at) // empty if the socket has skipped it
			r.at++
		}
		if r.emptied {
			if b.N == source.EventBatchSize {
				return 0, nil
			}
			r.emptied = false
			return -1, r.tail(b, wall)
		}
		n, err := r.socket.Receive()
		switch {
		case errors.Is(err, nfnetlink.ErrOverrun):
			r.losses.full()
			continue
		case err != nil:
			return 0, err
		}
		r.datagrams, r.at, r.emptied = n, 0, n < nfnetlink.Datagrams
	}
}

// next takes the next message of r.rest.
func (r *reader) next(b *source.EventBatch, wall int64) {
	m, rest, ok := nfnetlink.NextMessage(r.rest)
	if !ok {
		r.messages.Add(1)
		r.malformed.Add(1)
		r.rest = nil
		return
	}
	r.rest = rest
	if m.Type != messagePacket {
		return // NLMSG_DONE ends a datagram of several packets
	}
	r.messages.Add(1)
	sound := r.message.parse(m.Family, m.Attrs)
	i := 0
	for i < len(r.groups) && r.groups[i].number != m.ResID {
		i++
	}
	if i == len(r.groups) {
		r.malformed.Add(1)
		return
	}
	r.packet(b, &r.groups[i], sound, wall)
}

// packet takes r.message, of a packet of a group.
func (r *reader) packet(b *source.EventBatch, g *group, sound bool, wall int64) {
	m := &r.message
	when := m.time
	if when == 0 {
		when = wall
	}
	if m.has>>attrSequence&1 != 0 {
		if gap := m.sequence - g.next; gap != 0 && gap < 1<<31 {
			g.missing.Add(uint64(gap))
			if untold := r.losses.gap(uint64(gap)); untold > 0 {
				loss(b.Add(), untold, g.last, when)
			}
		}
		g.next = m.sequence + 1
	}
	g.last, r.last = when, when
	if !sound {
		r.malformed.Add(1)
		return
	}
	// A packet that is wrong behind its addresses is told of, too.
	if cause := m.decode(&r.headers); r.headers.Family == 0 {
		if cause == packet.NotIP {
			g.notIP.Add(1)
		} else {
			g.noHeader.Add(1)
		}
		return
	}
	v := verdict{g.rule, r.prefixes.outcome}
	if !blank(m.prefix) {
		v = r.prefixes.find(m.prefix)
	}
	g.outcomes[v.outcome].Add(1)
	e := b.Add()
	e.What, e.Action, e.Rule = whats[v.outcome], actions[v.outcome], v.rule
	e.Flow, e.Time = r.headers.Tuple, when
	if r.headers.HasHead && packet.IsICMP(r.headers.Proto) {
		e.ICMPType, e.ICMPCode = r.headers.ICMPType, r.headers.ICMPCode
	}
	e.In, e.Out = m.interfaces()
}

// tail looks for a loss behind the last packet that was read, when the socket is empty.
func (r *reader) tail(b *source.EventBatch, wall int64) error {
	if !r.losses.overrun {
		return nil
	}
	drops, err := r.socket.Drops()
	if err != nil {
		return err
	}
	if packets := r.losses.dropped(drops); packets > 0 {
		loss(b.Add(), packets, r.last, wall)
	}
	return nil
}

// blank reports whether a prefix is empty but for spaces.
func blank(prefix []byte) bool {
	for _, c := range prefix {
		if c != ' ' && c != '\t' {
			return false
		}
	}
	return true
}

var _ receiver = (*nfnetlink.Socket)(nil)
