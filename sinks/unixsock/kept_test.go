package unixsock_test

import (
	"testing"
	"testing/synctest"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
	"github.com/rtflow/pipelined/sinks/unixsock"
)

// TestKeep has the next run of the daemon go on with a stream: the hello says so, and a resync that is owed is still owed.
func TestKeep(t *testing.T) {
	for _, c := range []struct {
		name string
		next unixsock.Config
		owed bool // at the stop
	}{
		{name: "nothing is owed"}, {name: "a resync is owed", owed: true},
		{name: "another receiver", next: unixsock.Config{Path: "elsewhere"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, unixsock.Config{})
				r.SetSessions(sessions(3)...)
				v := r.connect(1)
				r.Append(sessions(10)...)
				v.records(1, 10)
				v.say(eventstream.Ack, 6)
				synctest.Wait()
				r.hasAcked(6)
				if c.owed {
					r.Append(loss(event.SessionClose))
					v.frame(event.FrameLoss)
					v.resync(11)
					v.say(eventstream.Ack, 11) // and not the table
					synctest.Wait()
					r.hasAcked(11)
				}
				r.stop()
				<-r.done

				kept := r.sink.Keep()
				c.next.Connector = r.conns
				r.sink = unixsock.New(c.next)
				if err := r.sink.TakeOver(kept); err != nil {
					t.Fatal(err)
				}
				r.run()
				if c.owed {
					v = r.connect(12)
					v.resync(11)
					v.say(eventstream.Ack, 11)
					v.wholeTable(3)
				} else {
					v = r.connect(7)
					if c.next.Path != "" {
						v.resync(6)
					}
					v.records(7, 10)
				}
			})
		})
	}
}

// TestKeepRefuses has what no sink has kept.
func TestKeepRefuses(t *testing.T) {
	for _, state := range []string{"", "{", `{"owed_from":2,"owed_until":1}`} {
		if unixsock.New(unixsock.Config{}).TakeOver([]byte(state)) == nil {
			t.Errorf("%q is taken over", state)
		}
	}
}
