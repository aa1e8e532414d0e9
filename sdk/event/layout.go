package event

// Sizes in bytes.
const (
	HeaderSize  = 16                      // frame header
	RecordSize  = 136                     // RT_FLOW record
	sessionTail = 8                       // session id behind the record in frames 14 and 15
	FrameSize   = HeaderSize + RecordSize // frames 11, 12, 13 and 16
	MaxFrame    = FrameSize + sessionTail // frames 14 and 15
)

// FrameType is byte 4 of the frame header.
type FrameType uint8

// Frame types that carry a record. The others belong to the stream protocol, not to the event.
const (
	FramePolicyDeny   FrameType = 11
	FrameScreenDrop   FrameType = 12
	FrameFilterLog    FrameType = 13
	FrameSessionOpen  FrameType = 14 // extension: record and session id
	FrameSessionClose FrameType = 15 // extension: record and session id
	FrameLoss         FrameType = 16 // extension: see loss.go for the layout
)

var frameTypes = [NumKinds]FrameType{
	SessionOpen: FrameSessionOpen, SessionClose: FrameSessionClose, PolicyDeny: FramePolicyDeny,
	ScreenDrop: FrameScreenDrop, FilterLog: FrameFilterLog, Loss: FrameLoss,
}

// Event types, record byte 52. 7 is an extension.
const (
	typeOpen   = 1
	typeClose  = 2
	typeDeny   = 3
	typeScreen = 4
	typeFilter = 6
	typeLoss   = 7
)

var eventTypes = [NumKinds]uint8{
	SessionOpen: typeOpen, SessionClose: typeClose, PolicyDeny: typeDeny, ScreenDrop: typeScreen, FilterLog: typeFilter,
	Loss: typeLoss,
}

// Offsets in the record. Integers are little endian, ports big endian. Fields of several kinds share their bytes.
const (
	offTime       = 0
	offSrc        = 8
	offDst        = 24
	offSrcPort    = 40
	offDstPort    = 42
	offPolicy     = 44 // open, close, deny: policy id; screen: flag mask; filter: filter id
	offInZone     = 48
	offOutZone    = 50
	offType       = 52
	offProto      = 53
	offAction     = 54
	offFamily     = 55
	offRule       = 56 // deny: the policy id again; screen: extended cause; filter: 0
	offTerm       = 60
	offClientPkts = 56 // close
	offClientByte = 64 // close
	offICMPCode   = 66 // filter; extension, zero in the reference
	offDenyID     = 66 // deny; extension: six bytes of session id, zero in the reference
	offNATSrc     = 72
	offNATDst     = 88
	offNATSrcPort = 104
	offNATDstPort = 106
	offCreated    = 108
	offServerPkts = 112
	offServerByte = 120
	offIfindex    = 128
	offApp        = 132
	offReason     = 134
	offICMPType   = 135 // deny and filter; extension, padding in the reference
)
