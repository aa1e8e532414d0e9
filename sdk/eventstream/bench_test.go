package eventstream_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// memory is a connection that hands out records from memory, up to a number, in reads as large as they are asked for.
type memory struct {
	block []byte // whole frames
	size  int    // of one
	next  event.Seq
	last  event.Seq
	at    int // read from the block
}

// newMemory returns a connection that delivers n frames of 152 bytes with numbers from first on.
func newMemory(first event.Seq, n int) *memory {
	m := &memory{size: event.FrameSize, next: first, last: first + event.Seq(n) - 1}
	for i := range 4096 {
		rec := sinktest.Record(event.PolicyDeny+event.Kind(i%3), uint64(i))
		m.block = append(m.block, rec.Frame()...)
	}
	return m
}

func (m *memory) Read(b []byte) (n int, err error) {
	for len(b) >= m.size && m.next <= m.last {
		if m.at == len(m.block) {
			m.at = 0
		}
		frame := m.block[m.at : m.at+m.size]
		putSeq(frame, m.next)
		copy(b, frame)
		m.at, m.next = m.at+m.size, m.next+1
		b, n = b[m.size:], n+m.size
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (m *memory) Write(b []byte) (int, error) {

	return len(b), nil
}

func (*memory) Close() error                     { return nil }
func (*memory) LocalAddr() net.Addr              { return nil }
func (*memory) RemoteAddr() net.Addr             { return nil }
func (*memory) SetDeadline(time.Time) error      { return nil }
func (*memory) SetReadDeadline(time.Time) error  { return nil }
func (*memory) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkReceive receives from memory, the producer's copy included.
func BenchmarkReceive(b *testing.B) {
	var n uint64
	r := &eventstream.Receiver{Handler: eventstream.Handler{
		Record: func(_ context.Context, rec *event.Record) error {
			n += uint64(rec.Kind())
			return nil
		},
	}}
	conn := newMemory(1, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	if err := r.Serve(b.Context(), conn); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if stats := r.Stats(); stats.Total() != uint64(b.N) || stats.Gaps != 0 {
		b.Fatalf("%+v", stats)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func putSeq(frame []byte, seq event.Seq) { binary.LittleEndian.PutUint64(frame[8:], uint64(seq)) }

// BenchmarkReceiveSocket receives through a Unix socket, from a producer in the same process that writes 64 KiB at a time.
func BenchmarkReceiveSocket(b *testing.B) {
	path := filepath.Join(b.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	ended := make(chan error, 1)
	go func() {
		conn, err := net.Dial("unix", path)
		if err != nil {
			ended <- err
			return
		}
		defer conn.Close()
		acks := make(chan struct{})
		go func() {
			defer close(acks)
			_, _ = io.Copy(io.Discard, conn)
		}()
		source, buf := newMemory(1, b.N), make([]byte, 64<<10)
		for {
			n, err := source.Read(buf)
			if err == nil {
				_, err = conn.Write(buf[:n])
			}
			if err != nil {
				ended <- conn.(*net.UnixConn).CloseWrite()
				<-acks
				return
			}
		}
	}()
	conn, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	r := &eventstream.Receiver{Handler: eventstream.Handler{Record: func(context.Context, *event.Record) error { return nil }}}
	b.ReportAllocs()
	b.ResetTimer()
	if err := r.Serve(b.Context(), conn); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	if got := r.Stats().Total(); got != uint64(b.N) {
		b.Fatalf("%d of %d records", got, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
