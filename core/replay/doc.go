// Package replay implements the ring of a sink: its queue, its budget and its retransmit buffer at once.
//
// A record owns one slot from admission until the sink's destination has acknowledged it, or until it is evicted or
// abandoned and counted. There is no second queue behind the ring, so a budget cannot come back before the
// acknowledgement, and no second capacity that could disagree with the first. The sequence number is the position.
//
//	            floor              sent                 next
//	released ───▶│ handed out, not  │ published, not yet   │◀─── free
//	             │ acknowledged     │ handed out           │
//
// Several workers append: they take credits, claim a run of positions with one atomic add, write, and publish the run. One
// sink reads contiguous published runs and acknowledges cumulatively. Since all credits together are as many as the
// slots, and a credit comes back only after floor has passed its slot, whoever holds a credit finds the slot free.
package replay
