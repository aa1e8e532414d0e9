package packet

// Translation is what the ends of a flow are translated to on the way through a host. An address of zeros says that this end is
// not.
type Translation struct {
	Src, Dst         Addr
	SrcPort, DstPort uint16
}

// Any reports whether an end is translated.
func (t *Translation) Any() bool { return t.Src != (Addr{}) || t.Dst != (Addr{}) }

// TranslationOf returns how a flow is translated of which the client sends packets as in flow, and the server as in reply, each
// as they come to the host that translates. An end of which only the port is translated has its address, too.
func TranslationOf(flow, reply *Tuple) (t Translation) {
	behind := reply.Reverse() // what the server receives
	if behind.Src != flow.Src || behind.SrcPort != flow.SrcPort {
		t.Src, t.SrcPort = behind.Src, behind.SrcPort
	}
	if behind.Dst != flow.Dst || behind.DstPort != flow.DstPort {
		t.Dst, t.DstPort = behind.Dst, behind.DstPort
	}
	return t
}
