package main

import (
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// tidyCommand writes a recording anew: packets in time order, interfaces with their names and nothing else, no word about
// the machine or the program that recorded. Marker frames are left out.
func tidyCommand(args []string) error {
	if len(args) != 2 {
		return errors.New("input and output, please")
	}
	in, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		return err
	}
	type packet struct {
		data []byte
		ci   gopacket.CaptureInfo
	}
	var packets []packet
	for {
		data, ci, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if ci.CaptureLength != ci.Length {
			return fmt.Errorf("packet %d is cut: %d of %d bytes", len(packets)+1, ci.CaptureLength, ci.Length)
		}
		if len(data) >= ethLen && layers.EthernetType(binary.BigEndian.Uint16(data[12:])) == markerType {
			continue
		}
		packets = append(packets, packet{data, ci})
	}
	if len(packets) == 0 {
		return errors.New("no packets")
	}
	sort.SliceStable(packets, func(i, j int) bool { return packets[i].ci.Timestamp.Before(packets[j].ci.Timestamp) })

	file, err := os.Create(args[1])
	if err != nil {
		return err
	}
	defer file.Close()
	var out io.Writer = file
	finish := func() error { return nil }
	if strings.HasSuffix(args[1], ".gz") {
		z, err := gzip.NewWriterLevel(file, gzip.BestCompression)
		if err != nil {
			return err
		}
		out, finish = z, z.Close
	}
	var w *pcapgo.NgWriter
	for i := range r.NInterfaces() {
		recorded, err := r.Interface(i)
		if err != nil {
			return err
		}
		plain := pcapgo.NgInterface{Name: recorded.Name, LinkType: recorded.LinkType}
		if i == 0 {
			w, err = pcapgo.NewNgWriterInterface(out, plain, pcapgo.NgWriterOptions{})
		} else {
			_, err = w.AddInterface(plain)
		}
		if err != nil {
			return err
		}
	}
	for _, p := range packets {
		if err := w.WritePacket(p.ci, p.data); err != nil {
			return err
		}
	}
	if err := errors.Join(w.Flush(), finish()); err != nil {
		return err
	}
	return file.Close()
}
