package capture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/rtflow/pipelined/core/packet"
)

const classicRecord = 16 // bytes of a record's header

// classic reads a pcap.
type classic struct {
	r    *pcapgo.Reader
	at   int64 // of the record that next reads
	then int64 // of the one behind it
	port uint32
	link packet.Link
}

func newClassic(br *bufio.Reader, head []byte, cfg *Config) (*classic, error) {
	if len(head) < classicHeader {
		return nil, fmt.Errorf("file header: %w", io.ErrUnexpectedEOF)
	}
	r, err := pcapgo.NewReader(br)
	if err != nil {
		return nil, fmt.Errorf("%w: file header: %w", ErrDamaged, err)
	}
	link, err := linkOf(r.LinkType(), "")
	if err != nil {
		return nil, err
	}
	// The reader believes the snap length of the file header and would buffer records of up to 4 GiB. Like libpcap, take
	// any record up to the longest that capture tools write, whatever the header says.
	r.SetSnaplen(maxRecord)
	return &classic{r: r, then: classicHeader, port: cfg.port(""), link: link}, nil
}

func (c *classic) next(rec *record) error {
	c.at = c.then
	data, info, err := c.r.ZeroCopyReadPacketData()
	switch {
	case err == nil:
	case errors.Is(err, io.EOF) && info.CaptureLength == 0:
		return io.EOF
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		// A file cut right behind a record header makes the reader say io.EOF, as if it ended there.
		return errCutOff
	case info.CaptureLength > maxRecord || info.CaptureLength > info.Length:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	default:
		return err
	}
	c.then += classicRecord + int64(len(data))
	*rec = record{data: data, wire: info.Length, stamp: stamp(info.Timestamp), port: c.port, link: c.link}
	return nil
}

func (c *classic) offset() int64     { return c.at }
func (c *classic) otherLink() uint64 { return 0 }

// stamp returns t in Unix nanoseconds, -1 if they do not fit (a pcapng may claim any year) or t is not set.
func stamp(t time.Time) int64 {
	const secondsThatFit = math.MaxInt64 / int64(time.Second)
	if s := t.Unix(); s < 0 || s >= secondsThatFit {
		return -1
	}
	return t.UnixNano()
}
