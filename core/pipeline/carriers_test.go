package pipeline

import (
	"log/slog"
	"testing"

	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
)

// carryingSource is a source that has a carrier, or none.
type carryingSource struct {
	fakeSource
	carrier source.Carrier
}

func (s *carryingSource) Carrier() source.Carrier { return s.carrier }

// idleCarrier carries nothing.
type idleCarrier struct{ source.Carrier }

// TestCarriersAreBounded adds more carriers than a flow can name: those beyond get no place, which would be that of another. Nor do sources
// without one.
func TestCarriersAreBounded(t *testing.T) {
	pl := &Pipeline{plan: &Plan{options: Options{Log: slog.New(slog.DiscardHandler)}}}
	for _, src := range []source.Frames{&fakeSource{}, &carryingSource{}} {
		if place := pl.addCarrier(src); place != noCarrier {
			t.Errorf("%T without a carrier has place %d", src, place)
		}
	}
	for i := range session.MaxCarriers + 2 {
		want := i
		if i >= session.MaxCarriers {
			want = noCarrier
		}
		if place := pl.addCarrier(&carryingSource{carrier: idleCarrier{}}); place != want {
			t.Fatalf("carrier %d has place %d, want %d", i, place, want)
		}
	}
	if n := len(pl.sessionCarriers()); n != session.MaxCarriers {
		t.Errorf("%d carriers, want %d", n, session.MaxCarriers)
	}
}
