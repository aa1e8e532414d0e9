package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Link types of the small captures.
const (
	linkEthernet = 1
	linkRaw      = 101
	linkCooked   = 113
)

// captured is one packet of a small capture.
type captured struct {
	at         time.Time
	fromClient bool
	frame      []byte // Ethernet
}

// httpSession is one HTTP request and its answer: 10.0.1.20:49152 to 198.51.100.10:80, 10 packets in 0.9 s.
func httpSession() []captured {
	server := netip.MustParseAddr("198.51.100.10")
	macServer := mac("02:00:00:01:00:01")
	start := time.Date(2026, 1, 1, 12, 0, 0, 123456789, time.UTC)
	seq := map[bool]uint32{true: 1000, false: 5000}
	var out []captured
	say := func(fromClient bool, set func(*layers.TCP), payload string) {
		ether := &layers.Ethernet{SrcMAC: macClient, DstMAC: macServer, EthernetType: layers.EthernetTypeIPv4}
		ip := ipv4(uint16(100+len(out)), client4, server, layers.IPProtocolTCP)
		tcp := &layers.TCP{SrcPort: 49152, DstPort: 80, Seq: seq[fromClient], Ack: seq[!fromClient], ACK: true, Window: 65000}
		if !fromClient {
			ether.SrcMAC, ether.DstMAC = ether.DstMAC, ether.SrcMAC
			ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP
			tcp.SrcPort, tcp.DstPort = tcp.DstPort, tcp.SrcPort
		}
		if set != nil {
			set(tcp)
		}
		frame := build(ether, ip, tcp, gopacket.Payload(payload))
		seq[fromClient] += uint32(len(payload))
		if tcp.SYN || tcp.FIN {
			seq[fromClient]++
		}
		out = append(out, captured{start.Add(time.Duration(len(out)) * 100 * time.Millisecond), fromClient, frame})
	}
	say(true, func(t *layers.TCP) { t.SYN, t.ACK, t.Ack = true, false, 0 }, "")
	say(false, func(t *layers.TCP) { t.SYN = true }, "")
	say(true, nil, "")
	say(true, func(t *layers.TCP) { t.PSH = true }, "GET / HTTP/1.1\r\nHost: www.example.net\r\nConnection: close\r\n\r\n")
	say(false, nil, "")
	say(false, func(t *layers.TCP) { t.PSH = true }, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")
	say(true, nil, "")
	say(false, func(t *layers.TCP) { t.FIN = true }, "")
	say(true, func(t *layers.TCP) { t.FIN = true }, "")
	say(false, nil, "")
	return out
}

// pcap is a classic capture.
func pcap(order binary.AppendByteOrder, nanos bool, link uint32, packets []captured) []byte {
	magic, unit := uint32(0xa1b2c3d4), 1000
	if nanos {
		magic, unit = 0xa1b23c4d, 1
	}
	out := order.AppendUint32(nil, magic)
	out = order.AppendUint16(out, 2)
	out = order.AppendUint16(out, 4)
	out = order.AppendUint32(out, 0)
	out = order.AppendUint32(out, 0)
	out = order.AppendUint32(out, 65535)
	out = order.AppendUint32(out, link)
	for _, p := range packets {
		data := p.frame
		switch link {
		case linkRaw:
			data = data[ethLen:]
		case linkCooked:
			// Packet type (0 to us, 4 from us), ARPHRD_ETHER, address length, address padded to 8 bytes, ethertype.
			header := []byte{0, 0, 0, 1, 0, 6}
			if p.fromClient {
				header[1] = 4
			}
			header = append(header, p.frame[6:12]...)
			header = append(header, 0, 0)
			header = append(header, p.frame[12:14]...)
			data = append(header, p.frame[ethLen:]...)
		}
		out = order.AppendUint32(out, uint32(p.at.Unix()))
		out = order.AppendUint32(out, uint32(p.at.Nanosecond()/unit))
		out = order.AppendUint32(out, uint32(len(data)))
		out = order.AppendUint32(out, uint32(len(data)))
		out = append(out, data...)
	}
	return out
}

// pcapng has the client's packets on lan0 and the server's on wan0.
func pcapng(packets []captured) ([]byte, error) {
	var out bytes.Buffer
	w, err := pcapgo.NewNgWriterInterface(&out, pcapgo.NgInterface{Name: "lan0", LinkType: layers.LinkTypeEthernet}, pcapgo.NgWriterOptions{})
	if err != nil {
		return nil, err
	}
	if _, err := w.AddInterface(pcapgo.NgInterface{Name: "wan0", LinkType: layers.LinkTypeEthernet}); err != nil {
		return nil, err
	}
	for _, p := range packets {
		ci := gopacket.CaptureInfo{Timestamp: p.at, CaptureLength: len(p.frame), Length: len(p.frame)}
		if !p.fromClient {
			ci.InterfaceIndex = 1
		}
		if err := w.WritePacket(ci, p.frame); err != nil {
			return nil, err
		}
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// capturesCommand writes the small captures.
func capturesCommand(args []string) error {
	if len(args) != 1 {
		return errors.New("one directory, please")
	}
	if err := os.MkdirAll(args[0], 0o755); err != nil {
		return err
	}
	session := httpSession()
	ng, err := pcapng(session)
	if err != nil {
		return err
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(ng); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	classic := pcap(binary.LittleEndian, false, linkEthernet, session)
	// The link types without Ethernet also get an IPv6 packet.
	six := captured{
		at:         session[len(session)-1].at.Add(time.Second),
		fromClient: true,
		frame: over6(ipv6(1, netip.MustParseAddr("2001:db8:1::20"), netip.MustParseAddr("2001:db8:f::10"), layers.IPProtocolUDP),
			udp(49153, 53), gopacket.Payload("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03net\x00\x00\x1c\x00\x01")),
	}
	both := append(append([]captured(nil), session...), six)
	files := map[string][]byte{
		"http.pcap":         classic,
		"http-ns-be.pcap":   pcap(binary.BigEndian, true, linkEthernet, session),
		"http.pcapng.gz":    zipped.Bytes(),
		"raw-ip.pcap":       pcap(binary.LittleEndian, false, linkRaw, both),
		"sll.pcap":          pcap(binary.LittleEndian, false, linkCooked, both),
		"empty.pcap":        pcap(binary.LittleEndian, false, linkEthernet, nil),
		"zero.bin":          {},
		"not-a-capture.txt": []byte("This is not a capture, although somebody might hand it in as one.\n"),
		// Both end 40 bytes before the end: within the data of the last packet.
		"cut.pcap":   classic[:len(classic)-40],
		"cut.pcapng": ng[:len(ng)-40],
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(args[0], name), data, 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("%d captures in %s\n", len(files), args[0])
	return nil
}
