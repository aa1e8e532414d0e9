// Package inflight keeps account of the records that are on their way to a destination which confirms them in any order,
// and acknowledges them to the daemon in theirs.
//
// A sink that publishes many records at a time to a broker hears of them out of order: the third is stored, then the first.
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
// It handles numbers only: records, messages and retries are the sink's.
package inflight
