package xsk

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Flows is the flow table of the XDP program: flows, each one direction of a session, whose packets the program carries by itself. It
// counts them, and forwards them to the peer of a bridge, or ends them in a tap. What is not an ordinary packet of its flow comes up to
// the socket all the same: a TCP segment with SYN, FIN, RST or URG or without ACK, or one whose sequence number is far from the last; a
// fragment, a packet with IP options or extension headers, on its last hop, longer than the peer takes, or cut off.
//
// A flow has a number from 1. It is [Flows.Add]ed, is held until [Flows.Resume], and can be held again and resumed as often as need
// be. Packets of a flow that is held come up. [Flows.Take] takes its counts out, which are exact at every moment: a packet was counted
// exactly if it was carried. [Flows.Forget] gives the number back.
//
// The records of the flows are memory that the process shares with the program, so that none of this makes a system call; a goroutine
// puts keys into the kernel's map and takes them out, many at a time. Its methods are safe for concurrent use, those with the number of
// a flow for as long as it is not forgotten.
type Flows struct {
	keyMap, recordMap *ebpf.Map
	records           []tapFlow // shared with the program; the first is not used
	keys              []FlowKey // by number; of the goroutine from Add to Forget
	inOrder           bool

	mu       sync.Mutex
	closed   bool
	free     []uint32 // numbers
	tasks    []task   // never longer than its capacity
	numAdded uint64

	wake  chan struct{}
	ended chan struct{}

	full, failed atomic.Uint64
}

// FlowKey is what the packets of a flow have in common.
type FlowKey = tapFlowKey

// NewFlowKey returns the key of a flow. An IPv4 address is in the first four bytes of source and destination. tags are the ids of its VLAN
// tags, the outer one first, 0 = none. The program carries TCP and UDP.
func NewFlowKey(source, destination *[16]byte, ipv4 bool, sourcePort, destinationPort uint16, protocol uint8, tags [2]uint16) FlowKey {
	k := FlowKey{SourcePort: swap16(sourcePort), DestinationPort: swap16(destinationPort), Tags: tags, Protocol: uint32(protocol)}
	if !ipv4 {
		k.Source, k.Destination = words(source), words(destination)
		return k
	}
	mapped := [16]byte{10: 0xff, 11: 0xff}
	copy(mapped[12:], source[:4])
	k.Source = words(&mapped)
	copy(mapped[12:], destination[:4])
	k.Destination = words(&mapped)
	return k
}

func words(b *[16]byte) [4]uint32 { return *(*[4]uint32)(unsafe.Pointer(b)) }

// swap16 returns a number as it stands in a packet.
func swap16(n uint16) uint16 {
	b := [2]byte{byte(n >> 8), byte(n)}
	return *(*uint16)(unsafe.Pointer(&b))
}

// task is what the goroutine is to do about the flow of a number.
type task struct {
	flow   uint32
	forget bool
}

// The word of a record, see bpf/tap.c.
const (
	flowActive    = 1 << 63
	flowPending   = 1 << 62
	flowBytesBits = 36
	flowBytes     = 1<<flowBytesBits - 1
	flowCounts    = flowPending - 1
)

// Of a flow that is pending, the word has a number of the pending above the count of the packets.
const flowPendingShift = 32

// What the daemon has in a record for itself.
const (
	settleTries = iota // packets that came up since the flow was resumed
	numPendings        // how often it was
	addFailed          // 1: its key is not in the map
)

// MaxFlows is how many flows a table has at most.
const MaxFlows = 1 << 23

// NewFlows makes a table for a number of flows, which [Config.Flows] gives to a program. Of a bridge the packets of a flow are to stay in
// order when the carrying begins: see [Flows.CameUp].
func NewFlows(flows int, bridge bool) (_ *Flows, err error) {
	if flows < 1 || flows > MaxFlows {
		return nil, fmt.Errorf("a flow table of %d flows: want 1 to %d", flows, MaxFlows)
	}
	spec, err := loadTap()
	if err != nil {
		return nil, fmt.Errorf("read the XDP program: %w", err)
	}
	f := &Flows{inOrder: bridge, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	if err := f.open(spec, flows+1); err != nil {
		return nil, errors.Join(fmt.Errorf("make the flow table: %w", explain(err)), f.close())
	}
	f.keys = make([]FlowKey, flows+1)
	f.tasks = make([]task, 0, 2*flows)
	f.free = make([]uint32, 0, flows)
	for i := flows; i > 0; i-- {
		f.free = append(f.free, uint32(i))
	}
	go f.run(make([]task, 0, 2*flows))
	return f, nil
}

// sizeFlows sets how many records the maps of a specification have.
func sizeFlows(spec *ebpf.CollectionSpec, records int) {
	spec.Maps[tapMapFlows].MaxEntries, spec.Maps[tapMapRecords].MaxEntries = uint32(records), uint32(records)
}

func (f *Flows) open(spec *ebpf.CollectionSpec, records int) (err error) {
	sizeFlows(spec, records)
	if f.keyMap, err = ebpf.NewMap(spec.Maps[tapMapFlows]); err != nil {
		return err
	}
	if f.recordMap, err = ebpf.NewMap(spec.Maps[tapMapRecords]); err != nil {
		return err
	}
	size := records * int(unsafe.Sizeof(tapFlow{}))
	memory, err := unix.MmapPtr(f.recordMap.FD(), 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map its records: %w", err)
	}
	// Whoever has the table may look at it after it is closed.
	runtime.AddCleanup(f, func(memory unsafe.Pointer) { _ = unix.MunmapPtr(memory, uintptr(size)) }, memory)
	f.records = unsafe.Slice((*tapFlow)(memory), records)
	return nil
}

// Close ends the table. No program that runs has it any more. What was carried can still be taken, and nothing is added.
func (f *Flows) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	close(f.wake)
	<-f.ended
	f.HoldAll()
	return f.close()
}

func (f *Flows) close() error { return errors.Join(f.recordMap.Close(), f.keyMap.Close()) }

// Add adds a flow, which is held, and returns its number; 0 if the table is full. The key is that of no other flow that was not forgotten.
func (f *Flows) Add(key *FlowKey) (flow uint32) {
	f.mu.Lock()
	n := len(f.free)
	if n == 0 || f.closed {
		f.mu.Unlock()
		f.full.Add(1)
		return 0
	}
	flow = f.free[n-1]
	f.free = f.free[:n-1]
	f.keys[flow] = *key
	f.records[flow] = tapFlow{} // the program has no way to it yet
	f.tasks = append(f.tasks, task{flow: flow})
	f.numAdded++
	f.wakeUp()
	f.mu.Unlock()
	return flow
}

// Forget ends a flow. What it has counted since the last Take is lost.
func (f *Flows) Forget(flow uint32) {
	f.Hold(flow)
	f.mu.Lock()
	if !f.closed {
		f.tasks = append(f.tasks, task{flow, true})
		f.wakeUp()
	}
	f.mu.Unlock()
}

// wakeUp wakes the goroutine. The caller has the lock.
func (f *Flows) wakeUp() {
	select {
	case f.wake <- struct{}{}:
	default: // it will see this one too
	}
}

// Carried is what the program has carried of a flow.
type Carried struct {
	Packets, Bytes uint64 // since it was last asked; bytes of IP
	// The rest is 0 until there was a packet.
	Seen              int64  // when the last one was carried: CLOCK_MONOTONIC in ns, some milliseconds early at most
	End, Acknowledged uint32 // TCP: the highest sequence number behind a packet, and what the last one acknowledges
}

// Take takes out what was carried of a flow since it was last asked.
func (f *Flows) Take(flow uint32) (c Carried) {
	r := &f.records[flow]
	for {
		word := atomic.LoadUint64(&r.Word)
		if word&flowPending != 0 || word&flowCounts == 0 {
			break
		}
		if atomic.CompareAndSwapUint64(&r.Word, word, word&flowActive) {
			c.Packets, c.Bytes = word&flowCounts>>flowBytesBits, word&flowBytes
			break
		}
	}
	c.Seen = int64(atomic.LoadUint64(&r.Seen))
	c.End, c.Acknowledged = atomic.LoadUint32(&r.End), atomic.LoadUint32(&r.Acknowledged)
	return c
}

// Follow says which sequence number is behind the last segment of a flow that came up: of TCP, those that are carried are near it.
func (f *Flows) Follow(flow, end uint32) {
	if r := &f.records[flow]; atomic.LoadUint32(&r.End) != end {
		atomic.StoreUint32(&r.End, end)
	}
}

// Hold ends the carrying of a flow. What was carried by then can still be taken, and everything else comes up.
func (f *Flows) Hold(flow uint32) {
	r := &f.records[flow]
	for {
		word := atomic.LoadUint64(&r.Word)
		held := word &^ flowActive
		if word&flowPending != 0 {
			held = 0
		}
		if held == word || atomic.CompareAndSwapUint64(&r.Word, word, held) {
			return
		}
	}
}

// HoldAll holds all flows.
func (f *Flows) HoldAll() {
	for i := range f.records {
		f.Hold(uint32(i))
	}
}

// Resume has the program carry a flow that is held: in a tap at once, in a bridge when those of its packets are sent that are on
// their way up. Before it, what was carried is taken out. It does nothing for a flow that is not held.
func (f *Flows) Resume(flow uint32) {
	r := &f.records[flow]
	if atomic.LoadUint64(&r.Word) != 0 {
		return
	}
	if atomic.LoadUint64(&r.Daemon[addFailed]) != 0 {
		f.addAgain(flow)
	}
	next := uint64(flowActive)
	if f.inOrder {
		next = flowPending | atomic.AddUint64(&r.Daemon[numPendings], 1)&0xffff<<flowPendingShift
		atomic.StoreUint64(&r.Daemon[settleTries], 0)
	}
	atomic.CompareAndSwapUint64(&r.Word, 0, next)
}

func (f *Flows) addAgain(flow uint32) {
	f.mu.Lock()
	if !f.closed && atomic.CompareAndSwapUint64(&f.records[flow].Daemon[addFailed], 1, 0) { // so no task about it is waiting
		f.tasks = append(f.tasks, task{flow: flow})
		f.wakeUp()
	}
	f.mu.Unlock()
}

const (
	// settleMost is after how many packets a flow is carried whose packets are always on their way.
	settleMost = 1 << 16
	// settleUnstamped is as how many of them a packet without a stamp counts. Some come before those with stamps; all, where the driver
	// has no metadata.
	settleUnstamped = 32
)

// CameUp says that a packet of a flow, from a socket, has come up. It returns a stamp, with which [Flows.Settle] is to be called when the packet was sent; 0
// if it need not be.
func (f *Flows) CameUp(flow uint32, p *Packet) (stamp uint64) {
	if atomic.LoadUint64(&f.records[flow].Word)&flowPending == 0 {
		return 0
	}
	return max(p.stamp(), 1)
}

// stampSize is the length of a stamp, which is before the data of a packet.
const stampSize = 8

// stamp returns what may be a stamp of the program: whatever was before a packet without one. The packet was received by a socket: there
// is room that belongs to its buffer.
func (p *Packet) stamp() uint64 {
	return *(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(p.Data)), -stampSize))
}

// Settle begins to carry a flow if no packet of it has come up since the one with that stamp, which was sent: so none is overtaken. Where
// there always is one, as under more load than can be carried, the carrying begins all the same after some time.
func (f *Flows) Settle(flow uint32, stamp uint64) {
	r := &f.records[flow]
	tries := uint64(1)
	if stamp&flowPending == 0 {
		tries = settleUnstamped
	} else if atomic.CompareAndSwapUint64(&r.Word, stamp, flowActive) {
		return
	}
	if atomic.AddUint64(&r.Daemon[settleTries], tries) < settleMost {
		return
	}
	for word := atomic.LoadUint64(&r.Word); word&flowPending != 0; word = atomic.LoadUint64(&r.Word) {
		if atomic.CompareAndSwapUint64(&r.Word, word, flowActive) {
			return
		}
	}
}

// FlowStats counts what became of flows.
type FlowStats struct {
	Flows  int    `json:"flows"`        // that were added and are not forgotten, or not yet given back
	Room   int    `json:"flows_room"`   // for how many there is room
	Added  uint64 `json:"flows_added"`  // since the table was made
	Full   uint64 `json:"flows_full"`   // not added: the table was full
	Failed uint64 `json:"flows_failed"` // added, but not put into the kernel's map, such as for want of memory
}

// Stats returns the counters.
func (f *Flows) Stats() FlowStats {
	f.mu.Lock()
	free, added := len(f.free), f.numAdded
	f.mu.Unlock()
	room := len(f.keys) - 1
	return FlowStats{Flows: room - free, Room: room, Added: added, Full: f.full.Load(), Failed: f.failed.Load()}
}

// run puts keys into the kernel's map, and takes them out, in the order in which that was asked for. tasks is room for those that are
// being done.
func (f *Flows) run(tasks []task) {
	defer close(f.ended)
	b := flowBatch{flows: f}
	for range f.wake {
		f.mu.Lock()
		tasks, f.tasks = f.tasks, tasks[:0]
		f.mu.Unlock()
		for _, t := range tasks {
			b.add(t)
		}
		b.finish()
	}
}

// flowBatch is tasks of one kind that follow each other.
type flowBatch struct {
	flows     *Flows
	forget    bool
	numbers   []uint32
	keys      []FlowKey
	forgotten []uint32 // to be given back
}

// flowBatchSize is how many keys one system call changes at most.
const flowBatchSize = 1024

func (b *flowBatch) add(t task) {
	if b.forget != t.forget || len(b.keys) == flowBatchSize {
		b.flush()
		b.forget = t.forget
	}
	b.numbers = append(b.numbers, t.flow)
	b.keys = append(b.keys, b.flows.keys[t.flow])
}

// finish does what is left, and gives the numbers of forgotten flows back when no program uses their records any more.
func (b *flowBatch) finish() {
	b.flush()
	if len(b.forgotten) == 0 {
		return
	}
	waitForPrograms()
	f := b.flows
	f.mu.Lock()
	f.free = append(f.free, b.forgotten...)
	f.mu.Unlock()
	b.forgotten = b.forgotten[:0]
}

func (b *flowBatch) flush() {
	if len(b.keys) > 0 {
		if b.forget {
			b.delete()
		} else {
			b.insert()
		}
	}
	b.numbers, b.keys = b.numbers[:0], b.keys[:0]
}

func (b *flowBatch) insert() {
	f := b.flows
	for at := 0; at < len(b.keys); {
		n, err := f.keyMap.BatchUpdate(b.keys[at:], b.numbers[at:], nil)
		if at += n; err == nil || at >= len(b.keys) {
			return
		}
		f.failed.Add(1)
		atomic.StoreUint64(&f.records[b.numbers[at]].Daemon[addFailed], 1)
		at++
	}
}

func (b *flowBatch) delete() {
	for at := 0; at < len(b.keys); {
		n, err := b.flows.keyMap.BatchDelete(b.keys[at:], nil)
		if at += n; err == nil {
			break
		}
		at++ // it was not there: adding it had failed
	}
	b.forgotten = append(b.forgotten, b.numbers...)
}

// waitForPrograms returns when every run of an XDP program that has begun before has ended.
func waitForPrograms() {
	const (
		membarrierGlobal = 1 // MEMBARRIER_CMD_GLOBAL waits for a grace period of RCU, in which programs run
		longEnough       = time.Second
	)
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0); errno != 0 {
		time.Sleep(longEnough) // a kernel with CPUs that are free of ticks refuses it
	}
}
