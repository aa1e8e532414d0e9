package syslog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
)

// Commands of RELP.
const (
	relpOpen        = "open"
	relpSyslog      = "syslog"
	relpClose       = "close"
	relpResponse    = "rsp"
	relpServerClose = "serverclose"

	relpOffer = "relp_version=0\nrelp_software=pipelined\ncommands=syslog\n"
)

// relpDialer opens connections of the schemes relp and relps.
type relpDialer struct {
	tcpDialer
	window int
}

// relp is a RELP session. Its position counts messages.
type relp struct {
	*opened
	limits limits
	window int
	next   uint32        // transaction of the next message
	framed atomic.Uint64 // messages
	length lengthField

	replies *replies
	news    chan struct{} // a token when an answer has come

	// refusal is the first message that the collector refused, for the reading goroutine; refused tells others of it.
	refusal *refusedError
	refused atomic.Bool

	broken *breakage
}

var _ conn = (*relp)(nil)

func (d *relpDialer) dial(ctx context.Context, wake func()) (conn, error) {
	o, err := d.tcpDialer.dial(ctx)
	if err != nil {
		return nil, err
	}
	r := &relp{
		opened: o, limits: d.limits, window: d.window, next: 2, replies: newReplies(2, d.window),
		news: make(chan struct{}, 1), broken: newBreakage(),
	}
	in, err := r.open(ctx)
	if err != nil {
		o.abort()
		return nil, err
	}
	go r.read(in, wake)
	return r, nil
}

// open asks for a session that takes syslog messages.
func (r *relp) open(ctx context.Context) (*relpReader, error) {
	defer context.AfterFunc(ctx, func() { _ = r.SetDeadline(past) })()
	if err := r.SetDeadline(time.Now().Add(r.limits.connect)); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if _, err := r.rw.Write(appendRELP(nil, 1, relpOpen, []byte(relpOffer))); err != nil {
		return nil, err
	}
	in := newRELPReader(r.rw)
	f, err := in.next()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("no RELP session within %v: the peer accepts connections and does not answer", r.limits.connect)
	case errors.Is(err, errRELP):
		return nil, fmt.Errorf("the peer does not speak RELP on this port: %w", err)
	case errors.Is(err, io.EOF):
		return nil, errors.New("the peer closed the connection instead of opening a RELP session")
	case err != nil:
		return nil, explainAlert(err)
	}
	if f.command != relpResponse || f.txnr != 1 {
		return nil, fmt.Errorf("the peer answered %q to the request for a RELP session", f.command)
	}
	if code, text := answerCode(f.data); code != 200 {
		return nil, fmt.Errorf("the peer refused a RELP session: %d %s", code, text)
	}
	if !offers(string(f.data), relpSyslog) {
		return nil, errors.New("the peer's RELP session takes no syslog messages")
	}
	return in, r.SetDeadline(time.Time{})
}

// offers reports whether the list of commands in an answer has that command.
func offers(answer, command string) bool {
	for line := range strings.Lines(answer) {
		if list, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "commands="); ok {
			for name := range strings.SplitSeq(list, ",") {
				if name == command {
					return true
				}
			}
		}
	}
	return false
}

// read takes the answers until the connection ends.
func (r *relp) read(in *relpReader, wake func()) {
	defer close(r.broken.done)
	for {
		if err := r.take(in); err != nil {
			r.broken.set(err)
			r.tell()
			wake()
			return
		}
		r.tell()
	}
}

func (r *relp) tell() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// refusedError is a message that the collector does not want.
type refusedError struct {
	position uint64
	text     string
	others   bool // it has taken one behind it: the refusal is about this message, and not about all
}

// refusalGrace is how long answers are read on after a refusal, to learn whether the collector takes other messages.
const refusalGrace = time.Second

func (e *refusedError) Error() string { return "the collector refused a message: " + e.text }

func (r *relp) take(in *relpReader) error {
	f, err := in.next()
	switch {
	case err != nil && r.refusal != nil:
		return r.refusal // no other was taken in time
	case errors.Is(err, io.EOF):
		return peerEnded("the peer closed the connection")
	case err != nil:
		return explainTimeout(explainAlert(err), r.limits)
	case f.command == relpServerClose:
		return peerEnded("the collector ended the RELP session")
	case f.command != relpResponse:
		return fmt.Errorf("the collector sent a RELP command %q", f.command)
	}
	position, err := r.replies.take(f.txnr, r.framed.Load())
	if err != nil {
		return err
	}
	if code, text := answerCode(f.data); code != 200 {
		if r.refusal != nil {
			return nil
		}
		r.refusal = &refusedError{position: position, text: fmt.Sprintf("%d %s", code, text)}
		r.refused.Store(true)
		return r.SetReadDeadline(time.Now().Add(min(refusalGrace, r.limits.write/2)))
	}
	r.replies.good(position)
	if r.refusal != nil && position > r.refusal.position {
		r.refusal.others = true
		return r.refusal
	}
	return nil
}

func (r *relp) head(b []byte, k event.Kind) []byte {
	return r.length.head(appendRELPHead(b, r.next, relpSyslog), k)
}

func (r *relp) tail(b []byte) ([]byte, uint64) {
	r.next = nextTxnr(r.next)
	return append(r.length.tail(b), '\n'), r.framed.Add(1)
}

func nextTxnr(n uint32) uint32 {
	if n == maxTxnr {
		return 1
	}
	return n + 1
}

func (r *relp) position() uint64         { return r.framed.Load() }
func (r *relp) acked() (uint64, error)   { return r.replies.acked(), nil }
func (r *relp) changed() <-chan struct{} { return r.news }
func (r *relp) patience() time.Duration  { return r.limits.write }
func (r *relp) answers() bool            { return true }
func (r *relp) failed() error            { return r.broken.get() }
func (r *relp) peer() peerInfo           { return r.info() }

// limit is the window, and one more when a message was refused: with a window of one no other would show whether the collector
// takes any.
func (r *relp) limit() int {
	if r.refused.Load() {
		return r.window + 1
	}
	return r.window
}

func (r *relp) send(b []byte) error {
	if err := r.writePieces(b, writePiece, func(int) {}); err != nil {
		return explainWrite(err, r.broken, r.limits)
	}
	return nil
}

// finish ends the session: the collector answers, or closes, and then so do we.
func (r *relp) finish() error {
	// Of writing alone: reading goes on until the end of the connection, so that a collector that keeps silent is not taken for one
	// that has closed.
	err := r.SetWriteDeadline(time.Now().Add(r.limits.close))
	if err == nil {
		r.framed.Add(1) // its answer is one to a message that we have sent
		_, err = r.rw.Write(appendRELP(nil, r.next, relpClose, nil))
	}
	if err == nil {
		t := time.NewTimer(r.limits.close)
		defer t.Stop()
		for want := r.framed.Load(); r.replies.acked() < want && r.broken.get() == nil; {
			select {
			case <-r.news:
			case <-t.C:
				err = fmt.Errorf("the collector did not end the RELP session within %v", r.limits.close)
			}
			if err != nil {
				break
			}
		}
	}
	if closeErr := r.opened.close(r.limits.close); err == nil {
		err = closeErr
	}
	<-r.broken.done
	return err
}

func (r *relp) drop() {
	r.abort()
	<-r.broken.done
}

// replies knows which messages were answered. Collectors answer in order; the protocol does not oblige them to.
type replies struct {
	mu    sync.Mutex
	first uint32 // transaction of the first message
	done  uint64 // every message up to here was answered
	ahead []bool // of those behind it: done+1, ...; a ring
}

func newReplies(first uint32, window int) *replies {
	return &replies{first: first, ahead: make([]bool, window+1)} // one more for the end of the session
}

// take returns the position of the message of a transaction: one of those that were framed and are not answered.
func (a *replies) take(txnr uint32, framed uint64) (position uint64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if txnr == 0 || txnr > maxTxnr {
		return 0, fmt.Errorf("the collector answered transaction %d", txnr)
	}
	// Both counted from the first message, in the circle of transactions.
	at := (uint64(txnr) + maxTxnr - uint64(a.first)) % maxTxnr
	past := (at + maxTxnr - a.done%maxTxnr) % maxTxnr
	if past >= uint64(len(a.ahead)) || a.done+past >= framed {
		return 0, fmt.Errorf("the collector answered transaction %d, which waits for no answer", txnr)
	}
	return a.done + past + 1, nil
}

// good notes that the message at a position was taken.
func (a *replies) good(position uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	size := uint64(len(a.ahead))
	a.ahead[position%size] = true
	for a.ahead[(a.done+1)%size] {
		a.done++
		a.ahead[a.done%size] = false
	}
}

func (a *replies) acked() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.done
}
