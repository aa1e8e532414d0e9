package xsk

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Settle finds out what the peer of a bridge has not taken of frames that went to it without a worker: [Counters.CarriedNotSent] and
// [Unread.PastNotSent]. If there may be any, it waits some milliseconds.
func (i *Interface) Settle() error {
	i.mu.Lock()
	var went crossed
	var unsettled bool
	var err error
	if i.program != nil && i.config.Bridge {
		went, unsettled, err = i.program.unsettled()
	}
	i.mu.Unlock()
	if err != nil || !unsettled {
		return err
	}
	waitForPrograms()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.program == nil {
		return nil
	}
	return i.program.settle(went)
}

// Close gives the interface back to the kernel: it takes the program off (that of a bridge that is pinned stays, and does as
// [Config.OnFailure] says), then waits for every reader to Release what it
// holds, then closes the sockets. A reader that waits is woken; every later Wait returns [ErrClosed]. The packets that
// are still in the rings are lost to the reader: see [Stats.RxUnread]. Closing twice returns the same error twice.
func (i *Interface) Close() error {
	i.closing.Do(func() { i.closeErr = i.close() })
	return i.closeErr
}

func (i *Interface) close() error {
	var errs []error
	var waiting waitTimes
	// The program first: packets on their way to a socket that is being closed have crashed kernels. It takes a while,
	// for which Counters does not have to wait.
	if i.program != nil {
		waiting = i.program.waiting
		ending := Ending{Read: i.program.begun, Bypassed: i.Bypassed()}
		detached := i.Detached()
		i.mu.Lock()
		i.leaving = true
		i.mu.Unlock()
		errs = append(errs, i.program.leave(i.sockets, i.watch.current().Gone, i.watch.queries))
		if ending.Read {
			waitForPrograms() // from now on nothing comes into the rings, and no counter changes
		}
		errs = append(errs, i.Settle())
		ending.Stays = ending.Read && i.program.pin != nil && !detached
		i.mu.Lock()
		i.ending = ending
		final, err := i.program.counters()
		errs = append(errs, err, i.program.close())
		i.finalCounters, i.program = final, nil
		i.mu.Unlock()
	}

	i.shared.closing.Store(true)
	for _, s := range i.sockets {
		s.Interrupt() // all of them, before the wait for any
	}
	for _, s := range i.sockets {
		errs = append(errs, s.close())
	}
	errs = append(errs, waiting.close())
	if i.promiscuous >= 0 {
		errs = append(errs, unix.Close(i.promiscuous))
	}
	if i.watch != nil {
		errs = append(errs, i.watch.close())
	}
	return errors.Join(errs...)
}

// Ending is what the end of an open interface has left.
type Ending struct {
	Read     bool // somebody has read it
	Stays    bool // its own program is on it still, and does as [Config.OnFailure] says
	Bypassed bool // an operator had said that every frame is to go past, which holds on
}

// Ending returns what Close has left. It is called after Close.
func (i *Interface) Ending() Ending {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ending
}

// goneNow wakes the readers when the interface has gone.
func (i *Interface) goneNow() {
	i.shared.gone.Store(true)
	for _, s := range i.sockets {
		s.Interrupt()
	}
}
