package eventstream

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// The pause between two attempts to connect, or to accept, grows by half from the first to the longest. What is waited
// is drawn from half of it to one and a half times.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
)

func newPause() *backoff.ExponentialBackOff {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstPause, maxPause
	return pause
}

// sleep waits, and reports whether ctx still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// defaultMode lets owner and group connect.
const defaultMode = 0o660

// Listen makes a socket at path, see [ListenUnix], and receives from the producers that connect to it until ctx ends; it
// returns ctx's error then. A new connection takes the place of the one before: a producer that was cut off does not
// wait until its old connection is found dead. A socket that somebody removes is made again.
func (r *Receiver) Listen(ctx context.Context, path string) error {
	mode := r.Mode
	if mode == 0 {
		mode = defaultMode
	}
	l, err := ListenUnix(path, mode)
	if err != nil {
		return err
	}
	return r.Accept(ctx, l)
}

// Accept is Listen with a listener of the caller's. It closes the listener.
func (r *Receiver) Accept(ctx context.Context, l net.Listener) error {
	end, err := r.start()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer end()
	ctx, cancel := context.WithCancel(ctx)
	next := make(chan *connection)
	failed := make(chan error, 1)
	var accepting sync.WaitGroup
	accepting.Go(func() { failed <- r.accept(ctx, l, next) })
	defer func() {
		cancel()
		_ = l.Close() // that it is closed already is no news
		accepting.Wait()
	}()
	for {
		select {
		case c := <-next:
			if err := r.serve(ctx, c); isHandlers(err) {
				return err
			}
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// accept hands over connections. Each interrupts the one before when it comes, served yet or not.
func (r *Receiver) accept(ctx context.Context, l net.Listener, next chan<- *connection) error {
	pause := newPause()
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
		case passes(err) && sleep(ctx, pause.NextBackOff()):
			continue
		default:
			return err
		}
		pause.Reset()
		c := r.attach(conn)
		select {
		case next <- c:
		case <-ctx.Done():
			r.detach(c)
			close(c.over)
			return errors.Join(ctx.Err(), conn.Close())
		}
	}
}

// passes reports whether an error of Accept says that something is short, rather than that the listener is broken.
func passes(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Dial connects to a producer that listens at path, again and again until ctx ends, and receives. It returns ctx's
// error. Between two attempts it waits 0.1 to 5 seconds, and begins with the short waits again when a connection has
// delivered something.
func (r *Receiver) Dial(ctx context.Context, path string) error {
	var d net.Dialer
	return r.Connect(ctx, func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "unix", path) })
}

// Connect is Dial with a way to connect of the caller's.
func (r *Receiver) Connect(ctx context.Context, dial func(ctx context.Context) (net.Conn, error)) error {
	end, err := r.start()
	if err != nil {
		return err
	}
	defer end()
	pause := newPause()
	for {
		conn, err := dial(ctx)
		if err == nil {
			before := r.count.Reads + r.count.Acks
			if err := r.serve(ctx, r.attach(conn)); isHandlers(err) {
				return err
			}
			if r.count.Reads+r.count.Acks > before {
				pause.Reset()
			}
		} else if r.Handler.Unreachable != nil && ctx.Err() == nil {
			r.Handler.Unreachable(err)
		}
		if !sleep(ctx, pause.NextBackOff()) {
			return ctx.Err()
		}
	}
}

func isHandlers(err error) bool {
	var failed *HandlerError
	return errors.As(err, &failed)
}
