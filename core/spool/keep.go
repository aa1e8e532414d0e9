package spool

import (
	"errors"
	"io/fs"
	"slices"
	"time"
)

// keepEvery is how often the position is written where nothing else says so.
const keepEvery = time.Second

// keep writes the position, removes what is released, and syncs, until the spool is closed.
func (s *Spool) keep() {
	every := keepEvery
	if s.c.Sync == SyncInterval {
		every = min(every, s.c.Interval)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var synced, looked time.Time
	for {
		select {
		case <-ticker.C:
			if now := s.c.Now(); now.Sub(looked) >= keepEvery {
				looked = now
				s.lookForFiles()
			}
			if now := s.c.Now(); s.c.Sync == SyncInterval && now.Sub(synced) >= s.c.Interval-every/2 {
				synced = now
				if err := s.timed(s.w.sync); err != nil {
					s.failed("sync", err)
				}
			}
			s.mu.Lock()
			stuck := s.reader.stuck || s.unnoted
			s.mu.Unlock()
			if stuck {
				s.wakeReader()
			}
		case <-s.tick:
		case <-s.stopping:
			return
		}
		s.tidy(false)
	}
}

// lookForFiles notices that somebody has removed the segment that is written, or the position, whose descriptors take what is written
// nevertheless: others are begun, so that no more is lost with them than what they held.
func (s *Spool) lookForFiles() {
	s.mu.Lock()
	g := s.w.seg
	s.mu.Unlock()
	if g != nil && s.isGone(g.name()) {
		s.mu.Lock()
		news := g == s.w.seg && !g.gone // else it was delivered meanwhile, and the spool itself has removed it
		if news {
			g.gone = true
		}
		left := g.held()
		s.mu.Unlock()
		if news {
			s.counterUp(&s.state.errors)
			s.c.Log.Error("somebody has removed a file of the spool; records that are not in memory any more are lost, and announced when the sink comes to them",
				"file", g.name(), "records", left.Total())
		}
	}
	s.tidying.Lock()
	defer s.tidying.Unlock()
	if s.pos.f != nil && s.isGone(positionFile) {
		s.pos.forget()
		s.mu.Lock()
		s.changed = true
		s.mu.Unlock()
	}
}

// isGone reports whether there is no file of that name. Of a disk that fails it is not known.
func (s *Spool) isGone(name string) bool {
	f, err := s.d.Open(name, false)
	if err == nil {
		shut(f)
	}
	return errors.Is(err, fs.ErrNotExist)
}

// tidy writes the position if it has changed, and removes the files of released segments: those in which something could not be read
// are put aside.
func (s *Spool) tidy(last bool) {
	s.tidying.Lock()
	defer s.tidying.Unlock()
	if err := s.reseal(); err != nil {
		s.failed("seal", err)
		return // the position still says what the seal is to say
	}
	s.mu.Lock()
	ahead := s.reserveAhead(last)
	p := position{
		number: s.floor.number, epoch: s.floor.epoch, seq: s.floor.seq, highest: s.highest, handed: s.handed, reserved: ahead.through,
	}
	sync := last || s.c.Sync != SyncNone || len(s.done) > 0 || p.handed > s.noted || ahead != s.ahead
	for _, g := range s.segments {
		if g.number == s.floor.number {
			p.released = g.released
			p.released.sub(&g.missing) // which the next run does not find any more
		}
	}
	changed, done := s.changed, slices.Clone(s.done)
	s.changed = false
	s.mu.Unlock()
	if !changed && len(done) == 0 && !last {
		return
	}
	err := s.timed(func() error { return s.pos.write(p, sync) })
	if err != nil {
		s.failed("position", err)
		s.mu.Lock()
		s.changed = true
		s.mu.Unlock()
		return // nothing is removed that a crash would then look for
	}
	s.mu.Lock()
	s.noted, s.ahead = p.handed, ahead
	s.mu.Unlock()
	for _, g := range done {
		if err := s.putAway(g); err != nil {
			s.failed("remove", err)
			continue
		}
		s.mu.Lock()
		s.done = slices.DeleteFunc(s.done, func(other *segment) bool { return other == g })
		s.mu.Unlock()
	}
	if len(done) > 0 {
		signal(s.space)
	}
}

// putAway removes the file of a segment that nobody needs, or puts it aside.
func (s *Spool) putAway(g *segment) error {
	if g.broken {
		name := g.name() + brokenEnd
		if err := s.d.Rename(g.name(), name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.mu.Lock()
		s.aside = append(s.aside, aside{name, g.size})
		s.mu.Unlock()
		s.c.Log.Warn("a segment in which something cannot be read is put aside", "file", name)
		return nil
	}
	if err := s.d.Remove(g.name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.mu.Lock()
	s.used -= g.size
	s.mu.Unlock()
	return nil
}
