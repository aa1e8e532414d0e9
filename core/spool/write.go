package spool

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"time"
)

const (
	// round is how many records are written at most between two looks at the disk with SyncBatch.
	round = 16 * maxBlock
	// spare is what a loss record in the place of a segment takes at most before that is gone.
	spare = 4096
	// lookFree is after how many bytes at most the file system is asked again how much is free.
	lookFree = 4 << 20
)

// Pauses of a writer whose disk fails or is full.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
)

// Run writes what the ring has until ctx ends, or until the ring is drained and everything of it is written and, unless with SyncNone, on
// the disk.
func (s *Spool) Run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		n, err := s.take()
		if err == nil && n == 0 && s.ring.Drained() {
			if s.c.Sync == SyncNone {
				err = nil
			} else {
				err = s.timed(s.w.sync)
			}
			if err == nil {
				s.mu.Lock()
				s.written = true
				s.mu.Unlock()
				s.wakeReader()
				return
			}
			s.failed("sync", err)
		}
		switch {
		case err != nil:
			s.ring.Rewind() // what waits may be evicted from the ring
			s.wait(ctx, pause)
			pause = min(2*pause, maxPause)
		case n > 0:
			s.works()
			pause = firstPause
		default:
			if wake, ok := s.ring.Sleep(); ok {
				select {
				case <-wake:
				case <-ctx.Done():
				}
			}
		}
	}
}

// wait waits for a time, for room, or until ctx ends.
func (s *Spool) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.space:
	case <-ctx.Done():
	}
}

// take writes what the ring has, up to a round, and acknowledges what is where it is to be. It returns how many records it has written.
func (s *Spool) take() (n int, err error) {
	for n < round {
		records := s.ring.Next(maxBlock)
		if records == nil {
			break
		}
		if len(s.w.waiting) == 0 {
			s.w.leaveGone() // by now: what came into the ring since it was found to be gone is not written to it
		}
		err = s.w.append(records)
		if err != nil {
			s.tell("write", err)
		} else {
			n += len(records)
		}
		if s.c.Sync != SyncBatch {
			err = errors.Join(err, s.w.commit())
		}
		if err != nil {
			break
		}
	}
	if s.c.Sync != SyncBatch || len(s.w.waiting) == 0 {
		return n, err
	}
	if syncErr := s.timed(s.w.sync); syncErr != nil {
		s.failed("sync", syncErr)
		s.w.undo()
		return n, errors.Join(err, syncErr)
	}
	return n, errors.Join(err, s.w.commit())
}

// tell notes why records cannot be written.
func (s *Spool) tell(what string, err error) {
	if full, ok := isFull(err); ok {
		s.full(full)
		return
	}
	s.failed(what, err)
}

// reserve makes room for n bytes, or returns an [*errFull].
func (s *Spool) reserve(n int64) error {
	for {
		s.mu.Lock()
		over := s.used+n+spare > int64(s.c.Size)
		s.mu.Unlock()
		if !over {
			break
		}
		if err := s.makeRoom("it has reached its size"); err != nil {
			return err
		}
	}
	w := &s.w
	if w.spare -= n; w.spare >= 0 {
		return nil
	}
	for {
		free, err := s.d.Free()
		if err != nil {
			return err
		}
		if room := int64(min(free, math.MaxInt64)) - int64(s.c.MinFree); room >= n {
			w.spare = min(room, lookFree) - n
			return nil
		}
		if err := s.makeRoom("the file system has less than min_free to spare"); err != nil {
			return err
		}
	}
}

// makeRoom frees some of what the files take.
func (s *Spool) makeRoom(why string) error {
	s.mu.Lock()
	done, set := len(s.done), s.aside
	s.mu.Unlock()
	if done > 0 {
		s.tidy(false)
		s.mu.Lock()
		fewer := len(s.done) < done
		s.mu.Unlock()
		if fewer {
			return nil
		}
	}
	if len(set) > 0 {
		if err := s.d.Remove(set[0].name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.mu.Lock()
		s.used -= set[0].size
		s.aside = s.aside[1:]
		s.mu.Unlock()
		return nil
	}
	if s.evicts.Load() {
		ok, err := s.evict()
		if ok || err != nil {
			return err
		}
	}
	return &errFull{why}
}
