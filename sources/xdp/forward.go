package xdp

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/core/answer"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/xsk"
)

const (
	// answerInterval is how often a queue answers rejected packets on average, in nanoseconds, and answerBurst how often at once.
	answerInterval = int64(time.Second) / 1000
	answerBurst    = 100
	// answerRoom is the length of the longest answer: that of a frame with eight VLAN tags.
	answerRoom = answer.MaxLength + 14 + 8*4

	// flushInterval is how often the kernel is asked again to send what it could not.
	flushInterval = time.Millisecond
)

// forwarding is what a queue of a bridge has to send its frames on. But for the counters it is for the worker's goroutine.
type forwarding struct {
	peer     *Source
	leavesBy uint32 // the id of its interface
	now      int64  // of the last batch
	// unsent are the sockets, of the peer and of the queue itself, that hold frames which the kernel did not take yet; nil: none.
	unsent [2]*xsk.Socket

	out     [packet.BatchSize]xsk.Packet // frames to send on
	replies [packet.BatchSize]xsk.Packet // answers to rejected ones, in buffer
	buffer  []byte
	headers packet.Headers
	credit  answerLimit

	notSent, peerAway                       atomic.Uint64
	answers, answersLimited, answersNotSent atomic.Uint64
}

// Places in forwarding.unsent.
const (
	byPeer = iota
	byItself
)

// answerLimit is a rate limit, by the generic cell rate algorithm.
type answerLimit struct{ tat int64 }

// take reports whether one more is allowed at now.
func (l *answerLimit) take(now int64) bool {
	tat := max(l.tat, now)
	if tat-now > (answerBurst-1)*answerInterval {
		return false
	}
	l.tat = tat + answerInterval
	return true
}

// pair makes two sources send each other's frames: s those of peer's interface, and peer those of s. It is called for both, before
// any worker runs.
func (s *Source) pair(peer *Source) error {
	if !s.config.Device.Bridge || !peer.config.Device.Bridge || s == peer {
		return errors.New("only two bridge sources make a pair")
	}
	var err error
	if nsErr := s.namespace.Run(func() { err = checkLoop(s.config.Device.Interface, peer.config.Device.Interface) }); nsErr != nil {
		err = errors.Join(err, nsErr)
	}
	if err != nil {
		return err
	}
	for _, q := range s.queues {
		q.forwarding = &forwarding{
			peer: peer, leavesBy: peer.config.ID, buffer: make([]byte, 0, packet.BatchSize*answerRoom),
		}
	}
	return nil
}

// flush asks the kernel again to send what it did not take, and returns the timeout after which it is to be asked again, if that
// is before another.
func (f *forwarding) flush(timeout time.Duration) time.Duration {
	waits := false
	for i, s := range f.unsent {
		if s == nil {
			continue
		}
		if s.Flush() {
			waits = true
		} else {
			f.unsent[i] = nil
		}
	}
	if waits && (timeout < 0 || timeout > flushInterval) {
		return flushInterval
	}
	return timeout
}

// transmit sends frames by a socket, and returns how many were not taken. The counters of a socket that is closed do not have them.
func (f *forwarding) transmit(place int, s *xsk.Socket, frames []xsk.Packet) (lost int) {
	queued, left, err := s.Transmit(frames)
	if left {
		f.unsent[place] = s
	}
	if err != nil && place == byPeer {
		f.peerAway.Add(uint64(len(frames)))
	}
	return len(frames) - queued
}

// bridged is a queue in the path of its frames.
type bridged struct{ *Queue }

var _ source.Forwarder = bridged{}

// Forward sends on the frames of the last Receive that are to be forwarded, by the peer's interface, and answers those that are
// rejected, by their own. It makes one system call for each of the two, and allocates nothing.
func (b bridged) Forward(verdicts []source.Verdict) (notSent int) {
	f := b.forwarding
	f.buffer = f.buffer[:0]
	out, replies := 0, 0
	for i, v := range verdicts {
		switch v {
		case source.Forward:
			f.out[out] = b.views[i]
			out++
		case source.Reject, source.Prohibit:
			if reply := f.answer(&b.views[i], kinds[v]); reply != nil {
				f.replies[replies] = xsk.Packet{Data: reply}
				replies++
			}
		}
	}
	if out > 0 {
		notSent = out
		if sockets := f.peer.sending.Load(); sockets != nil && len(*sockets) > 0 {
			notSent = f.transmit(byPeer, (*sockets)[b.number%len(*sockets)], f.out[:out])
		} else {
			f.peerAway.Add(uint64(out))
		}
		f.notSent.Add(uint64(notSent))
	}
	if replies > 0 {
		lost := f.transmit(byItself, b.held.sockets[0], f.replies[:replies])
		f.answers.Add(uint64(replies - lost))
		f.answersNotSent.Add(uint64(lost))
	}
	return notSent
}

// kinds are how senders are told, by verdict.
var kinds = [...]answer.Kind{source.Reject: answer.Closed, source.Prohibit: answer.Prohibited}

// answer returns the answer to a rejected frame; nil if there is to be none.
func (f *forwarding) answer(frame *xsk.Packet, kind answer.Kind) []byte {
	packet.Decode(frame.Data, frame.Len(), &f.headers)
	start := len(f.buffer)
	buffer := answer.Append(f.buffer, frame.Data, &f.headers, kind)
	if len(buffer) == start {
		return nil
	}
	if !f.credit.take(f.now) {
		f.answersLimited.Add(1)
		return nil
	}
	f.buffer = buffer
	return buffer[start:]
}

// ForwardStats counts what a queue of a bridge did with frames.
type ForwardStats struct {
	NotSent        uint64 `json:"not_sent"`         // let through, and not taken by the peer's interface
	PeerAway       uint64 `json:"peer_away"`        // of these, because the peer had no interface open
	Answers        uint64 `json:"answers"`          // sent to those whose packets were rejected
	AnswersLimited uint64 `json:"answers_limited"`  // not made, since there were too many
	AnswersNotSent uint64 `json:"answers_not_sent"` // not taken by the interface
}

func (f *forwarding) stats() ForwardStats {
	return ForwardStats{
		NotSent: f.notSent.Load(), PeerAway: f.peerAway.Load(), Answers: f.answers.Load(), AnswersLimited: f.answersLimited.Load(),
		AnswersNotSent: f.answersNotSent.Load(),
	}
}

// Pair makes the frames of this source leave by another, of the same plugin.
func (p plugged) Pair(peer source.Source) error {
	other, ok := peer.(plugged)
	if !ok {
		return fmt.Errorf("its peer is a %T", peer)
	}
	if err := p.pair(other.Source); err != nil {
		return err
	}
	other.mu.Lock()
	shared := other.tie
	other.mu.Unlock()
	if shared == nil {
		shared = new(tie)
	}
	p.mu.Lock()
	p.peer, p.tie = other.Source, shared
	p.mu.Unlock()
	p.connect()
	return nil
}

// connect tells the programs of both sources of a bridge by which interface frames leave that nobody reads. It is called whenever
// either has opened an interface.
func (s *Source) connect() {
	s.mu.Lock()
	peer := s.peer
	s.mu.Unlock()
	if peer == nil {
		return
	}
	s.leaveBy(peer)
	peer.mu.Lock()
	mutual := peer.peer == s
	peer.mu.Unlock()
	if mutual {
		peer.leaveBy(s)
		s.carry()
	}
}

// leaveBy has frames that nobody reads leave by the interface of a source. While that has none, what was said before is left: the kernel
// forgets an interface that goes.
func (s *Source) leaveBy(peer *Source) {
	from, to := s.present(), peer.present()
	if from == nil || to == nil {
		return
	}
	var err error
	if nsErr := s.namespace.Run(func() { err = from.SetPeer(to.Link().Index) }); nsErr != nil {
		err = errors.Join(err, nsErr)
	}
	if err != nil && !errors.Is(err, xsk.ErrClosed) {
		s.config.Warn("frames that nobody reads have no way to the peer", "interface", s.config.Device.Interface, "error", err)
	}
}

// present returns the interface that is open; nil if none is.
func (s *Source) present() *xsk.Interface {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.device
}
