package docs

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// Every frame that wire.md spells out is what the program sends.
func TestWireFrames(t *testing.T) {
	control := func(typ event.FrameType, seq event.Seq) []byte { return eventstream.AppendControl(nil, typ, seq) }
	session := func(k event.Kind) *event.Record {
		rec := new(event.Record)
		rec.Reset(k)
		rec.SetFlow(event.FamilyIPv4, 6, &[16]byte{10, 1, 2, 3}, &[16]byte{203, 0, 113, 80}, 51514, 443)
		rec.SetZones(2, 3)
		return rec
	}
	want := map[string][]byte{
		"hello, epoch 0x17f1c2d3e4f50617, first 45": eventstream.AppendHello(nil,
			eventstream.Hello{Version: eventstream.Version, Epoch: 0x17f1c2d3e4f50617, First: 45}),
		"ack 44":                   control(eventstream.Ack, 44),
		"pause":                    control(eventstream.Pause, 0),
		"resume":                   control(eventstream.Resume, 0),
		"drain request, target 44": control(eventstream.DrainRequest, 44),
		"drain complete, 45":       control(eventstream.DrainComplete, 45),
		"full resync, 45":          control(eventstream.FullResync, 45),
		"keepalive":                control(eventstream.Keepalive, 0),
		"session open 7, 10.1.2.3:51514 to 203.0.113.80:443, TCP, zones 2 to 3, delta": eventstream.AppendOpen(nil,
			eventstream.SessionOpen, 7, session(event.SessionOpen)),
		"session close 8 of the same, delta": eventstream.AppendClose(nil, 8, session(event.SessionClose)),
	}
	for _, b := range onePage(t, "docs/wire.md").blocks {
		if b.lang != "frames" {
			continue
		}
		for line := range strings.Lines(b.text) {
			at := strings.LastIndex(line, ": ")
			if at < 0 {
				t.Fatalf("no frame: %q", line)
			}
			name := line[:at]
			got, err := hex.DecodeString(strings.Join(strings.Fields(line[at+2:]), ""))
			if err != nil || want[name] == nil || string(got) != string(want[name]) {
				t.Errorf("docs/wire.md, %s:\n%x, %v, want\n%x", name, got, err, want[name])
			}
			delete(want, name)
		}
	}
	for name := range want {
		t.Errorf("docs/wire.md does not spell out %q", name)
	}
}
