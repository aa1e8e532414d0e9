// Package admission is the gate: the only way for an event into a ring.
//
// The order is fixed, and each step costs only what passes it: limiter, then for every sink its filter and its budget,
// then the sequence number, then the encoding. A refused event costs no sequence number, no encoding, no allocation.
//
// Each worker has a [Lane] of its own, with counters of its own; lanes meet only in the limiter's buckets, which a
// refusal does not write to, and in the rings, where a batch is one atomic add.
//
// What is refused is announced: once a second per (kind, zone) the gate puts a loss record for what the limiter refused
// into the rings of the sinks that would have wanted it, and the first records that fit again into a ring that was full
// are preceded by a loss record for what it missed.
package admission
