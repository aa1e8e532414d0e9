package capture

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/core/packet"
)

// Config says what to read.
type Config struct {
	Path  string    // of the capture; "-" reads Stdin
	Stdin io.Reader // used if Path is "-"
	// Interface is the physical interface that frames came in on where the capture does not name one that Index knows: a
	// pcap names none.
	Interface string
	// Index returns the zone table's index of a physical interface, 0 if it has none of that name. It may be nil, and is
	// called from one goroutine at a time, not for each packet.
	Index func(name string) uint32
	// Warn is told, by whoever reads, what is wrong with the capture and no error. May be nil.
	Warn func(msg string, args ...any)
}

// port returns the zone table's index for frames of the interface that the capture calls name, "" for nameless.
func (c *Config) port(name string) uint32 {
	if c.Index == nil {
		return 0
	}
	if name != "" {
		if i := c.Index(name); i != 0 {
			return i
		}
	}
	if c.Interface == "" {
		return 0
	}
	return c.Index(c.Interface)
}

// Stats is what a source has handed over so far.
type Stats struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"` // captured bytes of these packets
	// OutOfOrder counts the packets among them that were stamped earlier than their predecessor, not at all, or so much later that
	// what follows contradicts it. They have their predecessor's time.
	OutOfOrder uint64 `json:"out_of_order"`
	// ClockSetBack counts how often time went on from where it was, because the stamps had gone back for good.
	ClockSetBack uint64 `json:"clock_set_back"`
	// OtherLinkType counts packets of a pcapng beside them that were skipped because the link type of their interface is not read.
	OtherLinkType uint64 `json:"other_link_type"`
	// TrailingGarbage is 1 if something that is no capture followed it in a file compressed with gzip.
	TrailingGarbage uint64 `json:"trailing_garbage"`
}

// counters are Stats while they change. One goroutine adds, any may read.
type counters struct {
	packets, bytes, outOfOrder, setBack, otherLinkType, garbage atomic.Uint64
}

// Source reads one capture. Receive and Release are for one goroutine, Stats and Progress for any.
type Source struct {
	cfg   Config
	file  *os.File // nil for Stdin
	size  int64
	done  atomic.Int64 // bytes of the file read
	count counters

	in    *input
	stage stage
	pump  *pump // reads ahead where a read may take for ever; nil for a regular file
	rec   record
	now   int64 // time of the last frame handed over
	err   error // how a regular file ended
}

// Open opens the capture. The header of a regular file is read at once, so that a file that is no capture is refused here; a
// pipe is first looked at by Receive.
func Open(cfg Config) (*Source, error) {
	s := &Source{cfg: cfg, stage: newStage()}
	s.in = newInput(nil, &s.cfg, &s.count)
	if cfg.Path == "-" {
		if cfg.Stdin == nil {
			return nil, &Error{Path: cfg.Path, Err: errors.New("there is no standard input to read")}
		}
		s.in.raw = &metered{r: cfg.Stdin, n: &s.done}
		s.pump = startPump(s.in)
		return s, nil
	}
	file, err := openFile(cfg.Path)
	if err != nil {
		return nil, pathError(cfg.Path, err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, pathError(cfg.Path, err)
	}
	s.file = file
	s.in.raw = &metered{r: file, n: &s.done}
	switch mode := info.Mode(); {
	case mode.IsDir():
		err = &Error{Path: cfg.Path, Err: ErrDirectory}
	case mode.IsRegular():
		s.size, s.in.wait = info.Size(), true
		err = s.in.open()
	default:
		s.in.raw = &metered{r: &awaitedFile{File: file}, n: &s.done}
		s.pump = startPump(s.in)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return s, nil
}

// Receive fills b with the next frames of the capture; they are valid until Release. It returns io.EOF when all frames
// have been handed over, and an [Error] when the capture cannot be read on; the frames before it come first. A regular
// file is read without regard to timeout, so that batches, and with them everything derived from them, are the same each
// time; a pipe that is slower than a batch per timeout gives shorter batches.
func (s *Source) Receive(ctx context.Context, b *packet.Batch, timeout time.Duration) error {
	b.N = 0
	if s.err != nil {
		return s.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var err error
	if s.pump != nil {
		err = s.pump.receive(ctx, b, timeout)
	} else {
		err = s.fill(b)
	}
	if b.N > 0 {
		s.now = b.Frames[b.N-1].Time
		s.count.add(b)
	}
	b.Now, b.Wall = s.now, s.now
	if b.N > 0 {
		return nil // an error is for the next call
	}
	return err
}

// fill reads a batch from a regular file.
func (s *Source) fill(b *packet.Batch) error {
	s.stage.reset()
	for !s.stage.full(b) {
		if s.err = s.in.next(&s.rec); s.err != nil {
			return s.err
		}
		s.stage.put(b, &s.rec, s.in.last)
	}
	return nil
}

// add counts the frames of b.
func (c *counters) add(b *packet.Batch) {
	bytes := 0
	for i := range b.Frames[:b.N] {
		bytes += len(b.Frames[i].Data)
	}
	c.packets.Add(uint64(b.N))
	c.bytes.Add(uint64(bytes))
}

// Release gives the frames of the last Receive back. The next Receive uses their memory again.
func (s *Source) Release() {}

// Stats returns the counters.
func (s *Source) Stats() Stats {
	return Stats{
		Packets:       s.count.packets.Load(),
		Bytes:         s.count.bytes.Load(),
		OutOfOrder:    s.count.outOfOrder.Load(),
		ClockSetBack:  s.count.setBack.Load(),
		OtherLinkType: s.count.otherLinkType.Load(),

		TrailingGarbage: s.count.garbage.Load(),
	}
}

// Progress returns how many bytes of the file have been read (of the compressed file, if it is), and how many it has; 0
// if that cannot be known.
func (s *Source) Progress() (done, total int64) { return s.done.Load(), s.size }

// Close ends reading and closes the file. No Receive may be under way. The goroutine that reads a FIFO ends; that of standard
// input does as soon as its read returns: with the next byte, or when the writer closes the pipe.
func (s *Source) Close() error {
	if s.pump != nil {
		s.pump.stop()
	}
	if s.file == nil {
		return nil
	}
	if err := s.file.Close(); err != nil {
		return pathError(s.cfg.Path, err)
	}
	return nil
}

// pathError returns err, which an operation on the file gave, without saying the path twice.
func pathError(path string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return &Error{Path: path, Err: err}
}

// metered counts what is read through it.
type metered struct {
	r io.Reader
	n *atomic.Int64
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n.Add(int64(n))
	return n, err
}
