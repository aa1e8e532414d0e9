// Package session is the flow table: which packets belong together, who began, and when and why a session ends.
//
// Memory is fixed when the table is built. The table is sharded by a keyed hash that is the same for both directions of a
// flow, so that workers which carry different flows meet rarely and never for longer than one lookup. Sessions age on a
// timer wheel per shard, a bounded number at a time. A packet moves no timer: it only stamps its session, and the wheel
// looks again when the earlier deadline comes.
//
// The client of a session is who began it, whichever packet arrives first: a SYN-ACK comes from the server. A session that was created by a later packet than its first is put right when the first one arrives, see
// [Table.Lookup].
//
// Under a flood of new flows a full shard gives up sessions that only one end wants or that have ended, and refuses new
// ones when it finds none nearby: a session whose two ends have both taken part is never given up.
//
// The wheel turns in slots of about 1.07 s: a session ends at the earliest when its timeout is over, and at the latest one
// slot after it, when [Table.Expire] is called. Policies (a hook says whether a session may begin), records (the worker
// makes them) and clocks are not part of the package.
package session
