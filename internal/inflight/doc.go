// Package inflight acknowledges in order the records that a destination confirms in any order.
//
// A sink that publishes many records at a time to a broker gets confirmations out of order: for the third, then for the first.
// An acknowledgement to the ring is cumulative, so the third has to wait for the second. A [Window] waits for it:
//
//	w := inflight.New(1024)               // once per sink
//
//	w.Begin(stream)                       // in Run
//	defer w.End()
//	for each record of a batch {
//		w.Wait(ctx, seq)              // until it fits
//		if w.Add(seq) { publish(record) }
//	}
//
//	w.Done(seq)                           // anywhere: the broker has it
//
// A window outlives a run. What the broker has confirmed behind a record that it has not is still known when the daemon
// hands the records out again: Add says so, and the sink does not send it twice.
//
// It handles sequence numbers only: records, messages and retries belong to the sink.
package inflight
