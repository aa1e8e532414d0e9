package packettext

import (
	"errors"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
)

// decoded is what the decoder reads in the frame of a text.
func decoded(t *testing.T, text string, vlan uint16) packet.Headers {
	t.Helper()
	p, err := Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var h packet.Headers
	frame := p.Frame(vlan)
	if cause := packet.DecodeLink(packet.LinkEthernet, frame, len(frame), &h); cause != packet.OK {
		t.Fatalf("%s: refused: %v", text, cause)
	}
	if h.VLAN != vlan || h.Proto != p.Proto || h.Src.Netip(h.Family) != p.Src.Addr() || h.Dst.Netip(h.Family) != p.Dst.Addr() {
		t.Errorf("%s: decoded as %+v", text, h)
	}
	return h
}

func TestFrame(t *testing.T) {
	for text, ok := range map[string]func(h packet.Headers) bool{
		"tcp 10.0.1.5:40000 > 192.0.2.80:443": func(h packet.Headers) bool {
			return h.SrcPort == 40000 && h.DstPort == 443 && h.TCPFlags == packet.SYN && h.IPLen == 40 && h.TTL == 64
		},
		"tcp [2001:db8::1]:1 > [2001:db8::2]:2 flags ack,psh ttl 3 dscp 46 length 1500": func(h packet.Headers) bool {
			return h.TCPFlags == packet.ACK|packet.PSH && h.TTL == 3 && h.DSCP == 46 && h.IPLen == 1500
		},
		"tcp 10.0.0.1:1 > 10.0.0.2:2 flags none": func(h packet.Headers) bool { return h.TCPFlags == 0 && h.HasL4 },
		"udp 10.0.0.1:1 > 10.0.0.2:2 fragment 0+ length 101": func(h packet.Headers) bool {
			return h.Fragment && h.FragOff == 0 && h.IPFlags&packet.MoreFragments != 0 && h.DstPort == 2 && h.IPLen == 108
		},
		"udp 2001:db8::1 > 2001:db8::2 fragment 1480": func(h packet.Headers) bool {
			return h.Fragment && h.FragOff == 1480 && h.IPFlags == 0 && !h.HasHead
		},
		"icmp 10.0.0.1 > 10.0.0.2": func(h packet.Headers) bool { return h.EchoRequest() },
		"icmp6 ::1 > ::2 type 135 code 0": func(h packet.Headers) bool {
			return h.ICMPType == 135 && h.HasHead
		},
		"icmp6 ::1 > ::2":                             func(h packet.Headers) bool { return h.EchoRequest() },
		"sctp 10.0.0.1:1 > 10.0.0.2:2":                func(h packet.Headers) bool { return h.HasL4 && h.DstPort == 2 },
		"gre 10.0.0.1 > 10.0.0.2 length 65535":        func(h packet.Headers) bool { return h.IPLen == 65535 },
		"200 10.0.0.1 > 10.0.0.2":                     func(h packet.Headers) bool { return h.Proto == 200 },
		"gre 10.0.0.1 > 10.0.0.2 option record-route": func(h packet.Headers) bool { return h.Options == packet.OptRecordRoute },
		"gre 10.0.0.1 > 10.0.0.2 option timestamp":    func(h packet.Headers) bool { return h.Options == packet.OptTimestamp },
		"gre 10.0.0.1 > 10.0.0.2 option security":     func(h packet.Headers) bool { return h.Options == packet.OptSecurity },
		"gre 10.0.0.1 > 10.0.0.2 option stream":       func(h packet.Headers) bool { return h.Options == packet.OptStream },
		"gre 10.0.0.1 > 10.0.0.2 option bad":          func(h packet.Headers) bool { return h.Options&packet.OptBad != 0 },
		"tcp 1.2.3.4:1 > 1.2.3.5:2 option loose-source-route": func(h packet.Headers) bool {
			return h.Options == packet.OptLooseSource && h.DstPort == 2
		},
		"tcp 1.2.3.4:1 > 1.2.3.5:2 option strict-source-route": func(h packet.Headers) bool { return h.Options == packet.OptStrictSource },
	} {
		if h := decoded(t, text, 0); !ok(h) {
			t.Errorf("%s: decoded as %+v", text, h)
		}
		decoded(t, text, 100)
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"":                                                     "at character 1: the protocol is missing",
		"tpc 10.0.0.1:1 > 10.0.0.2:2":                          `at character 1: there is no protocol "tpc"; did you mean "tcp"?`,
		"tcp 10.0.0.1:1":                                       `at character 15: ">" is missing`,
		"tcp 10.0.0.1:1 - 10.0.0.2:2":                          `at character 16: ">" stands between source and destination, not "-"`,
		"tcp 10.0.0.1 > 10.0.0.2:2":                            "at character 5: a port is missing: 10.0.0.1:PORT",
		"tcp ::1 > [::2]:2":                                    "at character 5: a port is missing: [::1]:PORT",
		"tcp 10.0.0.1:1 > 10.0.0.2:70000":                      `at character 18: "10.0.0.2:70000" is no address with a port, such as 192.0.2.80:443 or [2001:db8::80]:443`,
		"gre 10.0.0.1:1 > 10.0.0.2":                            "at character 5: gre has no ports",
		"udp 10.0.0.1:1 > 10.0.0.2 fragment 8":                 "at character 5: a later fragment has no ports",
		"gre 10.0.0.1 > ::2":                                   "at character 16: source and destination are of two address families",
		"gre fe80::1%lan0 > ::2":                               "at character 5: an address has no interface here; write in lan0",
		"tcp 10.0.0.1:1 > 10.0.0.2:2 flgs syn":                 `at character 29: there is no word "flgs"; did you mean "flags"?`,
		"tcp 10.0.0.1:1 > 10.0.0.2:2 flags syn,akc":            `at character 35: flags: there is no flag "akc"; did you mean "ack"?`,
		"tcp 10.0.0.1:1 > 10.0.0.2:2 flags":                    "at character 34: the value of flags is missing",
		"tcp 10.0.0.1:1 > 10.0.0.2:2 in a in b":                "at character 34: in stands twice",
		"tcp 10.0.0.1:1 > 10.0.0.2:2 in a out b":               "at character 34: a packet is seen where it comes in or where it goes out: in and out do not stand together",
		"udp 10.0.0.1:1 > 10.0.0.2:2 flags syn":                "at character 29: only TCP has flags",
		"udp 10.0.0.1:1 > 10.0.0.2:2 fragment 0":               `at character 38: fragment: a packet that begins at 0 and of which no more follows is no fragment; write "0+"`,
		"udp 10.0.0.1:1 > 10.0.0.2:2 fragment 9+":              "at character 38: fragment: the offset of a fragment is a multiple of 8",
		"udp 10.0.0.1:1 > 10.0.0.2:2 length 20":                "at character 29: the packet is at least 28 bytes long",
		"udp 10.0.0.1:1 > 10.0.0.2:2 ttl 256":                  `at character 33: ttl: must be a number from 0 to 255, not "256"`,
		"udp 10.0.0.1:1 > 10.0.0.2:2 option record-rout":       `at character 36: option: there is no option "record-rout"; did you mean "record-route"?`,
		"udp [::1]:1 > [::2]:2 option stream":                  "at character 23: options are of IPv4",
		"tcp ü:1 > 10.0.0.2:2 in lan0":                         `at character 5: "ü:1" is no address with a port, such as 192.0.2.80:443 or [2001:db8::80]:443`,
		"tcp [fe80::1%lan0]:4 > [fe80::2]:80":                  "at character 5: an address has no interface here; write in lan0",
		"udp 10.0.0.1:1 > 10.0.0.2:2 fragment 0+ length 65535": "at character 41: a fragment that is not the last is at most 65532 bytes long here",
		"udp 10.0.0.1:1 > 10.0.0.2:2 type 3":                   "at character 29: only ICMP has a type",
	} {
		_, err := Parse(text)
		var e *Error
		if !errors.As(err, &e) || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", text, err, want)
		}
	}
}

// FuzzParse: whatever is parsed makes a frame with its own addresses.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"tcp 10.0.1.5:40000 > 192.0.2.80:443 in lan0 flags syn from lan to wan", "udp 2001:db8::1 > 2001:db8::2 fragment 1480",
		"icmp 10.0.0.1 > 10.0.0.2 type 8 code 0 length 1400 option bad ttl 1 dscp 3",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		var h packet.Headers
		frame := p.Frame(0)
		packet.DecodeLink(packet.LinkEthernet, frame, len(frame), &h)
		if h.Family == 0 || h.Src.Netip(h.Family) != p.Src.Addr() {
			t.Errorf("%q: decoded as %+v", text, h)
		}
	})
}
