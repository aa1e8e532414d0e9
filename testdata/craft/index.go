package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/pcapgo"
)

// indexCommand prints where a recording has each attack, and fails if frames of one are missing or there twice.
func indexCommand(args []string) error {
	if len(args) != 1 {
		return errors.New("index takes one capture")
	}
	type span struct {
		first, last, count int
		from, to           time.Time
	}
	wanted := map[string]int{} // whole frame to attack
	for n, a := range attacks {
		for _, f := range a.frames(attackID(n)) {
			wanted[string(f)] = n
		}
	}
	found := make([]span, len(attacks))
	var start time.Time
	number := 0
	err := eachPacket(args[0], func(data []byte, ci gopacket.CaptureInfo) error {
		number++
		if start.IsZero() {
			start = ci.Timestamp
		}
		n, ok := wanted[string(data)]
		if !ok {
			return nil
		}
		s := &found[n]
		if s.count == 0 {
			s.first, s.from = number, ci.Timestamp
		}
		s.last, s.to, s.count = number, ci.Timestamp, s.count+1
		return nil
	})
	if err != nil {
		return err
	}
	var missing []string
	for n, a := range attacks {
		s, frames := found[n], a.frames(attackID(n))
		if s.count == 0 {
			missing = append(missing, a.name)
			continue
		}
		fmt.Printf("| %s | %d | %d-%d | %.3f | %.1f ms | %s |\n", a.name, s.count, s.first, s.last,
			s.from.Sub(start).Seconds(), float64(s.to.Sub(s.from).Microseconds())/1000, a.about)
		if s.count != len(frames) {
			missing = append(missing, fmt.Sprintf("%s (%d of %d)", a.name, s.count, len(frames)))
		}
	}
	if missing != nil {
		return fmt.Errorf("missing or doubled: %s", strings.Join(missing, ", "))
	}
	return nil
}

// eachPacket reads a pcapng file, also a compressed one.
func eachPacket(path string, f func([]byte, gopacket.CaptureInfo) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	var in io.Reader = file
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(file); err != nil {
			return err
		}
	}
	r, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		return err
	}
	for {
		data, ci, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(data, ci); err != nil {
			return err
		}
	}
}
