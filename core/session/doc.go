// Package session is the flow table: which packets belong together, when a session begins and when and why it ends.
//
// Memory is fixed when the table is built. The table is sharded by a hash that is the same for both directions of a
// flow, so that workers which carry different flows meet rarely and never for longer than one lookup. Sessions age on a
// timer wheel per shard, a few at a time. A packet moves no timer: it only stamps its session, and the wheel looks again
// when the earlier deadline comes.
//
// Under a flood of new flows a full shard gives up sessions that only one end wants or that have ended, and refuses new
// ones when it finds none nearby: a session whose two ends have both taken part is never given up.
//
// Time is kept in ticks of about 0.13 s and the wheel turns in slots of about 1.07 s: a session ends at the earliest one
// tick before its timeout is over, and at the latest one tick and one slot after it, when [Table.Expire] is called.
//
// What lives here: sessions, their states, timeouts and counters. What never may: policies (a hook says whether a session
// may begin), events (the worker makes them), clocks.
package session
