package xsk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"slices"
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
// The table is memory that the process shares with the program, so that none of this makes a system call; a goroutine waits until no
// program uses what was forgotten. Its methods are safe for concurrent use, those with the number of a flow for as long as it is not
// forgotten.
type Flows struct {
	recordMap *ebpf.Map
	records   []tapFlow // shared with the program, a hash table: see bpf/tap.c. The number of a flow is its index; the first is not used
	settling  []settling
	pendings  atomic.Uint64 // how many there were, of all flows: what one has left in a buffer is no stamp of another
	slotBits  uint8
	hashKeys  [6]uint64
	room      int
	inOrder   bool

	mu        sync.Mutex
	closed    bool
	slots     []slotState // by index
	numFlows  int         // that were added, and not given back
	numAdded  uint64
	numFull   uint64
	forgotten []uint32 // since the goroutine looked

	wake  chan struct{}
	ended chan struct{}
}

// settling is what is known of a flow of a bridge that is to be carried.
type settling struct {
	tries atomic.Uint64 // packets that came up since it was resumed
}

// slotState says what a record is used for.
type slotState uint8

const (
	slotEmpty     slotState = iota // nothing; and no flow is behind it that should be before it
	slotUsed                       // a flow
	slotForgotten                  // one that a program may be looking at still
	slotFree                       // nothing; there may be flows behind it
)

const (
	// probes is how far a record may be from its place, and one more, as the program has it.
	probes = 32
	// nothing is the what of a record that is not used: that of no packet.
	nothing = ^uint32(0)
	// minSlots and maxSlotBits bound the size of a table. At least every second record is not used, as long as there are that many.
	minSlots    = 2 * probes
	maxSlotBits = 24
)

// FlowKey is what the packets of a flow have in common.
type FlowKey = tapFlowKey

// NewFlowKey returns the key of a flow. An IPv4 address is in the first four bytes of source and destination. tags are the ids of its VLAN
// tags, the outer one first, 0 = none. The program carries TCP and UDP.
func NewFlowKey(source, destination *[16]byte, ipv4 bool, sourcePort, destinationPort uint16, protocol uint8, tags [2]uint16) FlowKey {
	k := FlowKey{
		SourcePort: swap16(sourcePort), DestinationPort: swap16(destinationPort),
		What: uint32(protocol) | uint32(tags[0]&0xfff)<<8 | uint32(tags[1]&0xfff)<<20,
	}
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

// slotOf returns where the record of a flow should be, as the program does.
func (f *Flows) slotOf(key *FlowKey) uint32 {
	k := (*[40]byte)(unsafe.Pointer(key))
	hash := binary.NativeEndian.Uint64(k[32:]) * f.hashKeys[4]
	for i, odd := range f.hashKeys[:4] {
		hash += binary.BigEndian.Uint64(k[8*i:]) * odd
	}
	hash ^= hash >> 32
	return uint32(hash * f.hashKeys[5] >> (64 - f.slotBits))
}

func words(b *[16]byte) [4]uint32 { return *(*[4]uint32)(unsafe.Pointer(b)) }

// swap16 returns a number as it stands in a packet.
func swap16(n uint16) uint16 {
	b := [2]byte{byte(n >> 8), byte(n)}
	return *(*uint16)(unsafe.Pointer(&b))
}

// The word of a record, see bpf/tap.c.
const (
	flowActive    = 1 << 63
	flowPending   = 1 << 62
	flowBytesBits = 36
	flowBytes     = 1<<flowBytesBits - 1
	flowCounts    = flowPending - 1
)

// Of a flow that is pending, the word has the number of the pending above the count of the packets.
const (
	flowPendingShift = 32
	flowPendingMask  = 1<<30 - 1
)

// MaxFlows is how many flows a table has at most.
const MaxFlows = 1 << 23

// NewFlows makes a table for a number of flows, which [Config.Flows] gives to a program. Of a bridge the packets of a flow are to stay in
// order when the carrying begins: see [Flows.CameUp].
func NewFlows(flows int, bridge bool) (*Flows, error) {
	if flows < 1 || flows > MaxFlows {
		return nil, fmt.Errorf("a flow table of %d flows: want 1 to %d", flows, MaxFlows)
	}
	spec, err := loadTap()
	if err != nil {
		return nil, fmt.Errorf("read the XDP program: %w", err)
	}
	f := &Flows{room: flows, inOrder: bridge, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	f.slotBits = uint8(min(bits.Len(uint(max(2*flows, minSlots))-1), maxSlotBits))
	for i := range f.hashKeys {
		f.hashKeys[i] = rand.Uint64() | 1
	}
	slots := 1 << f.slotBits
	if err := f.open(spec, slots); err != nil {
		return nil, errors.Join(fmt.Errorf("make the flow table: %w", explain(err)), f.recordMap.Close())
	}
	f.slots, f.settling = make([]slotState, slots), make([]settling, slots)
	f.slots[0], f.records[0].Key.What = slotUsed, nothing // 0 is no number
	go f.run()
	return f, nil
}

// sizeFlows sets how many records the map of a specification has.
func sizeFlows(spec *ebpf.CollectionSpec, slots int) {
	spec.Maps[tapMapRecords].MaxEntries = uint32(slots)
}

func (f *Flows) open(spec *ebpf.CollectionSpec, slots int) (err error) {
	sizeFlows(spec, slots)
	if f.recordMap, err = ebpf.NewMap(spec.Maps[tapMapRecords]); err != nil {
		return err
	}
	size := slots * int(unsafe.Sizeof(tapFlow{}))
	memory, err := unix.MmapPtr(f.recordMap.FD(), 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map its records: %w", err)
	}
	// Whoever has the table may look at it after it is closed.
	runtime.AddCleanup(f, func(memory unsafe.Pointer) { _ = unix.MunmapPtr(memory, uintptr(size)) }, memory)
	f.records = unsafe.Slice((*tapFlow)(memory), slots)
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
	return f.recordMap.Close()
}

// Add adds a flow, which is held, and returns its number; 0 if the table is full. The key is that of no other flow that was not forgotten.
func (f *Flows) Add(key *FlowKey) (flow uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || f.numFlows == f.room {
		f.numFull++
		return 0
	}
	slot := f.slotOf(key)
	for range probes {
		if state := f.slots[slot]; state == slotEmpty || state == slotFree {
			f.put(slot, key)
			return slot
		}
		slot = f.after(slot)
	}
	f.numFull++
	return 0
}

// put puts a flow into a record that no program has a way to yet. The caller has the lock.
func (f *Flows) put(slot uint32, key *FlowKey) {
	r := &f.records[slot]
	r.Key.Source, r.Key.Destination = key.Source, key.Destination
	r.Key.SourcePort, r.Key.DestinationPort = key.SourcePort, key.DestinationPort
	r.Seen, r.End, r.Acknowledged = 0, 0, 0
	atomic.StoreUint64(&r.Word, 0)
	atomic.StoreUint32(&r.Key.What, key.What)
	f.slots[slot] = slotUsed
	f.numFlows++
	f.numAdded++
}

func (f *Flows) after(slot uint32) uint32 { return (slot + 1) & uint32(len(f.slots)-1) }

// Forget ends a flow. What it has counted since the last Take is lost.
func (f *Flows) Forget(flow uint32) {
	f.Hold(flow)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	atomic.StoreUint32(&f.records[flow].Key.What, nothing)
	f.slots[flow] = slotForgotten
	f.forgotten = append(f.forgotten, flow)
	select {
	case f.wake <- struct{}{}:
	default: // it will see this one too
	}
}

// run gives the records of forgotten flows back when no program uses them any more.
func (f *Flows) run() {
	defer close(f.ended)
	var forgotten []uint32
	for range f.wake {
		f.mu.Lock()
		forgotten, f.forgotten = f.forgotten, forgotten[:0]
		f.mu.Unlock()
		if len(forgotten) == 0 {
			continue
		}
		waitForPrograms()
		for some := range slices.Chunk(forgotten, fewFreed) {
			f.free(some)
		}
	}
}

// fewFreed is how many records are freed at a time: workers may wait to add flows.
const fewFreed = 256

// free gives back records that no program uses.
func (f *Flows) free(slots []uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, slot := range slots {
		f.slots[slot] = slotFree
	}
	f.numFlows -= len(slots)
	for _, slot := range slots {
		f.clear(slot)
	}
}

// clear ends the search for flows at a record that is free, and at those before it, if none is behind it. The caller has the lock.
func (f *Flows) clear(slot uint32) {
	for f.slots[slot] == slotFree && f.slots[f.after(slot)] == slotEmpty {
		atomic.StoreUint32(&f.records[slot].Key.What, 0)
		f.slots[slot] = slotEmpty
		slot = (slot - 1) & uint32(len(f.slots)-1)
	}
}

// Carried is what the program has carried of a flow.
type Carried struct {
	Packets, Bytes uint64 // since it was last asked; bytes of IP
	Seen           int64  // when the last one was carried: CLOCK_MONOTONIC in ns, some milliseconds early at most; 0: none was
	// TCP: the highest sequence number behind a packet, and what the last one acknowledges, or what Follow has said.
	End, Acknowledged uint32
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

// Follow says which sequence number is behind the last segment of a flow that came up, and what its sender has acknowledged: of TCP, those
// that are carried are near the former. Until one has acknowledged more, Take returns the latter.
func (f *Flows) Follow(flow, end, acknowledged uint32) {
	r := &f.records[flow]
	if atomic.LoadUint32(&r.End) != end {
		atomic.StoreUint32(&r.End, end)
	}
	if atomic.LoadUint32(&r.Acknowledged) != acknowledged {
		atomic.StoreUint32(&r.Acknowledged, acknowledged)
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
	next := uint64(flowActive)
	if f.inOrder {
		next = flowPending | f.pendings.Add(1)&flowPendingMask<<flowPendingShift
		f.settling[flow].tries.Store(0)
	}
	atomic.CompareAndSwapUint64(&r.Word, 0, next)
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
	if f.settling[flow].tries.Add(tries) < settleMost {
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
	Flows int    `json:"flows"`       // that were added and are not forgotten, or not yet given back
	Room  int    `json:"flows_room"`  // for how many there is room
	Added uint64 `json:"flows_added"` // since the table was made
	Full  uint64 `json:"flows_full"`  // not added: the table was full, or what is near the place of the flow
}

// Stats returns the counters.
func (f *Flows) Stats() FlowStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return FlowStats{Flows: f.numFlows, Room: f.room, Added: f.numAdded, Full: f.numFull}
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
