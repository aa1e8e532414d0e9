package packet

// Frame is one link-layer frame as a source hands it to a worker. Data is borrowed: it is valid until the source's
// Release, and nobody but the source writes to it.
type Frame struct {
	Data []byte // captured bytes, starting with the header of the link layer
	Wire int    // bytes on the wire; at least len(Data), more when a capture was cut by its snap length
	// Time is when the frame arrived, in nanoseconds on the clock of [Batch.Now]. It never decreases from one frame of a
	// source to the next.
	Time int64
	// Interface is the id of the physical interface the frame was seen on, as the zone table knows it; 0 = unknown.
	Interface uint32
	// SegmentSize is how many bytes of data each packet carries of which the frame stands for several, as the kernel merges
	// received TCP segments and cuts those to send only at the device; 0 if the frame is one packet.
	SegmentSize  uint16
	SegmentProto uint8 // protocol of those packets: [ProtoTCP] or [ProtoUDP]
	Outgoing     bool  // the frame leaves by the interface, and did not come in on it
	Link         Link  // how Data begins
	// LeavesBy is the id of the physical interface that a source in the path sends the frame on by; 0 = none, or unknown.
	LeavesBy uint32
}

// BatchSize is the largest number of frames that a source hands over at once.
const BatchSize = 64

// Batch holds what one receive call returns. A worker owns one Batch and passes it to its source with every call.
type Batch struct {
	Frames [BatchSize]Frame
	N      int // frames filled in; 0 after a timeout
	// Now is the time of this receive call in nanoseconds on a clock that never goes back: the monotonic clock of a live
	// source, the time of the last packet of a capture.
	Now int64
	// Wall is the Unix time in nanoseconds at the instant Now. A record is stamped Frame.Time + (Wall - Now), so that a
	// step of the wall clock moves stamps and no timer. A capture has Wall == Now.
	Wall int64
	// Coarse is set if the times of the frames are when they were read, not when each was received: frames of two queues
	// are then not in order by them.
	Coarse bool
}
