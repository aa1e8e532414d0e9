package event

// Layout of a Loss record. The common fields (time, ingress zone, event type) keep their places; the rest is an extension of pipelined:
//
//	 8  u64  lost SessionOpen      16  u64  lost SessionClose
//	24  u64  lost PolicyDeny       32  u64  lost ScreenDrop
//	54  u8   LossReason            56  u64  lost FilterLog
//	64  u64  time of the first loss, Unix ns (the record's own time is that of the last)
//	72  u64  packets that nobody has looked at, of LossRestart
const (
	offLossReason  = offAction
	offLossSince   = 64
	offLossPackets = 72
)

var offLost = [NumKinds - 1]int{SessionOpen: 8, SessionClose: 16, PolicyDeny: 24, ScreenDrop: 32, FilterLog: 56}

// LossCounts holds how many events of each kind are missing. There is no count of loss records: they are merged, not lost.
type LossCounts [NumKinds - 1]uint64

// Total returns the sum over all kinds.
func (c *LossCounts) Total() (n uint64) {
	for _, v := range c {
		n += v
	}
	return n
}

// SetLoss makes r, a record of kind [Loss], say that counts were lost for that reason between since and until (Unix ns).
// zone is the ingress zone of what was lost, 0 if several or unknown.
func (r *Record) SetLoss(why LossReason, zone uint16, counts *LossCounts, since, until int64) {
	r.SetTime(until)
	r.putU64(offLossSince, uint64(since))
	r.putU16(offInZone, zone)
	r.frame[HeaderSize+offLossReason] = byte(why)
	for k, off := range offLost {
		r.putU64(off, counts[k])
	}
}

// LossReason returns why events are missing. Valid for loss records.
func (r *Record) LossReason() LossReason { return LossReason(r.frame[HeaderSize+offLossReason]) }

// LossCounts returns how many events of each kind are missing. Valid for loss records.
func (r *Record) LossCounts() (c LossCounts) {
	for k, off := range offLost {
		c[k] = r.u64(off)
	}
	return c
}

// LossSince returns the time of the first loss in Unix nanoseconds. Valid for loss records.
func (r *Record) LossSince() int64 { return int64(r.u64(offLossSince)) }

// SetLossPackets makes a loss record of the reason [LossRestart] say how many packets the kernel has counted at the interfaces of the
// sources meanwhile.
func (r *Record) SetLossPackets(n uint64) { r.putU64(offLossPackets, n) }

// LossPackets returns how many packets nobody has looked at, 0 if that is not known. Valid for loss records.
func (r *Record) LossPackets() uint64 { return r.u64(offLossPackets) }
