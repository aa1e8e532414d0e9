package nfnetlink

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// HeaderSize is the length of what stands before the attributes of a message: struct nlmsghdr and struct nfgenmsg.
const HeaderSize = unix.NLMSG_HDRLEN + 4

// Message is a message without its framing.
type Message struct {
	Type, Flags uint16 // subsystem<<8 | kind, or one of NLMSG_*; NLM_F_*
	Seq         uint32 // of the request that it answers
	// Port is that of the socket whose request made the kernel send it, 0 if there was none.
	Port   uint32
	Family uint8
	ResID  uint16
	// Attrs are the attributes. Of the messages that end a dump, or answer a request (NLMSG_ERROR), it is all that stands behind
	// the netlink header.
	Attrs []byte
}

// control is the first message type that is not netlink's own.
const control = unix.NLMSG_MIN_TYPE

// NextMessage returns the first message of b, and what follows. ok is false if there is none, or b is malformed.
func NextMessage(b []byte) (m Message, rest []byte, ok bool) {
	if len(b) < unix.NLMSG_HDRLEN {
		return Message{}, nil, false
	}
	length := int(binary.NativeEndian.Uint32(b))
	if length < unix.NLMSG_HDRLEN || length > len(b) {
		return Message{}, nil, false
	}
	m = Message{
		Type: binary.NativeEndian.Uint16(b[4:]), Flags: binary.NativeEndian.Uint16(b[6:]), Seq: binary.NativeEndian.Uint32(b[8:]),
		Port: binary.NativeEndian.Uint32(b[12:]),
	}
	rest = b[min(align(length), len(b)):]
	body := b[unix.NLMSG_HDRLEN:length:length]
	if m.Type < control {
		m.Attrs = body
		return m, rest, true
	}
	if len(body) < 4 {
		return Message{}, nil, false
	}
	m.Family, m.ResID, m.Attrs = body[0], binary.BigEndian.Uint16(body[2:]), body[4:]
	return m, rest, true
}

// NextAttr returns the type, without its flags, and the value of the first attribute of b, and what follows. ok is false if
// there is none, or b is malformed.
func NextAttr(b []byte) (typ uint16, value, rest []byte, ok bool) {
	if len(b) < unix.NLA_HDRLEN {
		return 0, nil, nil, false
	}
	length := int(binary.NativeEndian.Uint16(b))
	if length < unix.NLA_HDRLEN || length > len(b) {
		return 0, nil, nil, false
	}
	typ = binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
	return typ, b[unix.NLA_HDRLEN:length:length], b[min(align(length), len(b)):], true
}

// align rounds up to what messages and attributes are aligned to.
func align(n int) int { return (n + 3) &^ 3 }

// AppendMessage appends the head of a message; attributes follow, and [EndMessage]. start is where the message begins.
func AppendMessage(b []byte, m Message) (_ []byte, start int) {
	start = len(b)
	b = binary.NativeEndian.AppendUint32(b, 0) // see EndMessage
	b = binary.NativeEndian.AppendUint16(b, m.Type)
	b = binary.NativeEndian.AppendUint16(b, m.Flags)
	b = binary.NativeEndian.AppendUint32(b, m.Seq)
	b = binary.NativeEndian.AppendUint32(b, m.Port)
	b = append(b, m.Family, unix.NFNETLINK_V0)
	b = binary.BigEndian.AppendUint16(b, m.ResID)
	return append(b, m.Attrs...), start
}

// EndMessage ends the message that begins at start: what was appended since belongs to it.
func EndMessage(b []byte, start int) []byte {
	binary.NativeEndian.PutUint32(b[start:], uint32(len(b)-start))
	return pad(b)
}

// AppendAttr appends an attribute.
func AppendAttr(b []byte, typ uint16, value []byte) []byte {
	return pad(append(appendHead(b, typ, len(value)), value...))
}

// AppendUint8 appends an attribute of one byte.
func AppendUint8(b []byte, typ uint16, value uint8) []byte {
	return append(appendHead(b, typ, 1), value, 0, 0, 0)
}

// AppendUint16 appends an attribute of two bytes, in network order.
func AppendUint16(b []byte, typ, value uint16) []byte {
	return append(binary.BigEndian.AppendUint16(appendHead(b, typ, 2), value), 0, 0)
}

// AppendUint32 appends an attribute of four bytes, in network order.
func AppendUint32(b []byte, typ uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(appendHead(b, typ, 4), value)
}

// BeginNested appends the head of an attribute that holds attributes; those follow, and [EndNested]. start is where it begins.
func BeginNested(b []byte, typ uint16) (_ []byte, start int) {
	return appendHead(b, typ|unix.NLA_F_NESTED, 0), len(b)
}

// EndNested ends the attribute that begins at start.
func EndNested(b []byte, start int) []byte {
	binary.NativeEndian.PutUint16(b[start:], uint16(len(b)-start))
	return b
}

// appendHead appends the head of an attribute whose value has that length.
func appendHead(b []byte, typ uint16, length int) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.NLA_HDRLEN+length))
	return binary.NativeEndian.AppendUint16(b, typ)
}

// pad appends zeros up to the alignment of messages and attributes.
func pad(b []byte) []byte {
	for len(b) != align(len(b)) {
		b = append(b, 0)
	}
	return b
}
