package worker

import (
	"context"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/table"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/sources/xdp"
	"github.com/rtflow/pipelined/xsk"
)

// bridgeHosts are a sender, a host with "tap" and "out", and one behind it.
func bridgeHosts(b *testing.B) (sender, middle *nettest.Host) {
	b.Helper()
	nettest.Require(b)
	sender, middle = nettest.NewHost(b), nettest.NewHost(b)
	behind := nettest.NewHost(b)
	nettest.Cable(sender, "wire", middle, "tap", 1)
	nettest.Cable(behind, "wire", middle, "out", 1)
	behind.AcceptFlood("wire")
	return sender, middle
}

// BenchmarkPacketPathBridge forwards packets through a worker with the hooks of the other benchmarks, and beside it through a bare
// loop on the same sockets: compare pkts/s and cpu-ns/pkt. Most of both is the kernel's transmit path.
func BenchmarkPacketPathBridge(b *testing.B) {
	flood := nettest.Flood{Device: "wire", Flows: 1024}
	b.Run("bare", func(b *testing.B) {
		sender, middle := bridgeHosts(b)
		var sockets [2]*xsk.Socket
		for i, name := range []string{"tap", "out"} {
			var device *xsk.Interface
			var err error
			middle.Do(func() {
				device, err = xsk.Open(b.Context(), xsk.Config{Interface: name, Bridge: true, Promiscuous: true})
			})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = device.Close() })
			sockets[i] = device.Queues()[0]
			if err := device.Serve(sockets[i]); err != nil {
				b.Fatal(err)
			}
		}
		views := make([]xsk.Packet, 64)
		sent := 0
		nettest.Drive(b, sender, flood, func() (int, error) {
			n := sockets[0].Receive(views)
			if n == 0 {
				return 0, sockets[0].Wait(100 * time.Millisecond)
			}
			queued, _, _ := sockets[1].Transmit(views[:n])
			sockets[0].Release()
			sent += queued
			return n, nil
		})
		if sent < b.N {
			b.Logf("%d packets were not sent", b.N-sent)
		}
	})
	b.Run("pipeline", func(b *testing.B) {
		sender, middle := bridgeHosts(b)
		zones := zone.New([]zone.Zone{{ID: 1, Name: "trust", Interfaces: []string{"tap"}}}, []string{"out"}, nil)
		var ends [2]source.Paired
		for i, text := range []string{`{"interface": "tap", "mode": "bridge", "peer": "out"}`, `{"interface": "out", "mode": "bridge", "peer": "tap"}`} {
			cfg, err := table.Parse("bridge", text)
			if err != nil {
				b.Fatal(err)
			}
			configured := xdp.Plugin().Configure(cfg, source.Env{Warn: func(string, ...any) {}})
			middle.Do(func() {
				var s source.Source
				if s, err = configured.Open(b.Context(), zones); err == nil {
					ends[i] = s.(source.Paired)
				}
			})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = ends[i].Close() })
		}
		for i := range ends {
			if err := ends[i].Pair(ends[1-i]); err != nil {
				b.Fatal(err)
			}
		}
		ring := pathRing(b)
		w := pathWorker(b, ends[0].Queues()[0], ring)
		ctx := context.Background()
		b.ReportAllocs()
		nettest.Drive(b, sender, flood, func() (int, error) {
			err := w.step(ctx)
			acknowledgeAll(ring)
			return w.batch.N, err
		})
		if c := w.Counts(); c.Forwarded+c.NotSent != c.Received || c.NotSent > c.Received/100 {
			b.Fatalf("%d of %d packets were forwarded, %d not sent", c.Forwarded, c.Received, c.NotSent)
		}
	})
}
