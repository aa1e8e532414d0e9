package unixsock_test

import (
	"net"
	"testing"
	"testing/synctest"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
	"github.com/rtflow/pipelined/sinks/unixsock"
)

// FuzzReceiver lets a receiver say anything, cut into pieces anywhere: the sink must not fall over, must not acknowledge
// what it has not sent, and must serve the next receiver from behind what was acknowledged.
func FuzzReceiver(f *testing.F) {
	say := eventstream.AppendControl
	f.Add(say(say(nil, eventstream.Ack, 3), eventstream.Ack, 5), uint8(7))
	f.Add(say(nil, eventstream.Ack, 11), uint8(1))
	f.Add(say(say(say(nil, eventstream.Pause, 0), eventstream.DrainRequest, 2), eventstream.Resume, 0), uint8(3))
	f.Add(append(eventstream.AppendFrame(nil, 99, 40, 1), make([]byte, 60)...), uint8(16))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint8(2))
	f.Fuzz(func(t *testing.T, said []byte, piece uint8) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, unixsock.Config{})
			r.Append(sessions(9)...)
			r.Append(loss(event.SessionOpen))
			v := r.connect(1)
			sent := make(chan event.Seq)
			go func(conn net.Conn) { // read all, so that the sink is never held up
				highest := event.Seq(0)
				for {
					fr, err := v.in.Next()
					if err != nil {
						sent <- highest
						return
					}
					highest = max(highest, fr.Seq())
				}
			}(v.conn)
			synctest.Wait()
			for b := said; len(b) > 0; {
				n := min(len(b), int(piece)%32+1)
				if _, err := v.conn.Write(b[:n]); err != nil {
					break // it has been thrown out
				}
				b = b[n:]
			}
			synctest.Wait()
			_ = v.conn.Close()
			highest := <-sent
			if err := r.again(); err == nil {
				t.Error("a connection that ended is no error")
			}
			acked := r.Acked()
			if acked > highest {
				t.Fatalf("acknowledged up to %d, sent up to %d", acked, highest)
			}
			if acked < 10 {
				r.connect(acked+1).records(acked+1, 10)
			}
		})
	})
}
