// Package admission decides which events go into the rings of the sinks; no event gets into a ring otherwise.
//
// An event passes the limiter, then for each sink its filter and its credits; it gets its sequence number, and is encoded
// last. Each step costs only what passes it. A refused event costs no sequence number, no encoding, no allocation; a refusal by
// the limiter is two loads and two compares.
//
// A [Gate] has a [Lane] for each worker. A worker asks its lane about every event ([Lane.Offer]), collects those that pass
// as values of [Event], and hands the slice to [Lane.Flush] at the end of a batch. The slice belongs to the worker: the lane
// reads it during Flush and keeps nothing of it. An Event holds no references, so that the worker may use its packets and
// sessions again as soon as the event is made. The lane makes the record of an event in the slot of each ring that has a
// credit for it: to make it again takes less time than to copy it.
//
// Lanes meet only in the limiter's buckets, which a refusal does not write to, and in the rings, where a batch is one atomic
// addition. A lane counts for itself; [Gate.Ledger] adds up.
//
// What is refused is announced: once a second per (kind, zone) the gate puts a loss record for what the limiter refused
// into the rings of the sinks that would have wanted it, and the first records that fit again into a ring that was full
// are preceded by a loss record for what it missed.
package admission
