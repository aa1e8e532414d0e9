// Package session is the flow table: which packets belong together, who began, and when and why a session ends.
//
// The client of a session is who began it, whichever packet arrives first: a SYN-ACK comes from the server. A session that
// was created by a later packet than its first is put right when the first one arrives, see [Table.Lookup]. Policies (a hook
// says whether a session may begin), records (the worker makes them) and clocks are not part of the package.
//
// # Memory
//
// Memory is fixed when the table is built: about 171 bytes per session. A keyed hash, which is the same for both directions
// of a flow, picks one of 64 shards with a lock each, so that workers which carry different flows seldom wait for each other
// and never for longer than one call. Where there is one worker it has the whole table for a batch instead, see [Table.Enter]. A shard has
//
//	buckets  64 bytes for 8 entries: a cache line of 15 slots, each a part of a hash and the index of an entry
//	entries  128 bytes each: a cache line to compare (addresses, ports, domains, state, time of the last packet), and one
//	         of what a packet changes and is told (counters, sequence numbers, zones)
//	cold     32 bytes for each entry: what is needed when a session begins or ends
//	wheel    4 KiB: lists of entries by the time at which they are to be looked at
//	unkept   8 bytes for about 4 entries: flows for which there was no room
//
// and all shards have together
//
//	dropped  128 KiB: flows of which the first packet was dropped
//
// A packet of a session reads a bucket and the two lines of an entry, and one that belongs to none reads a bucket.
// [Table.Prefetch] has them fetched for a whole batch. On Linux, those of a large table are taken at the start, in pages of 2 MiB
// if the kernel grants them.
//
// # Time
//
// Sessions age on a timer wheel per shard, a bounded number at a time. A packet moves no timer: it only stamps its session,
// and the wheel looks again when the earlier deadline comes. The wheel turns in slots of about 1.07 s: a session ends at the
// earliest when its timeout is over, and at the latest one slot after it, when [Table.Expire] is called.
//
// # Floods
//
// Under a flood of new flows a full shard gives up sessions that only one end wants or that have ended, and refuses new
// ones when it finds none nearby: a session whose two ends have both taken part is never given up.
//
// The way to a session has a bound that no sender can move: flows that collide cannot be chosen, and of one flow that somebody makes
// in every VLAN, which all have one hash, only so many are in one bucket.
package session
