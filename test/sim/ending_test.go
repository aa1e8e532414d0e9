package sim

import (
	"sync"
	"testing/synctest"
	"time"
)

// heal repairs everything that can be.
func (o *output) heal() {
	if o.plan.trouble >= stuck {
		return
	}
	o.mu.Lock()
	o.healed = true
	w := o.wire
	o.mu.Unlock()
	if w != nil {
		w.fair()
		if w.spoiled {
			w.reset() // where frames begin may have been lost, and with it what the receiver has said
		}
	}
	synctest.Wait()
	o.start(2)
	synctest.Wait()
	l := o.program.current()
	l.slow.Store(false)
	l.stall(false)
	synctest.Wait()
	o.ask(resume, l)
}

// healing is how long everything takes to come right: a silent receiver is found out, the longest pause, the rest.
const healing = 3 * time.Minute

// end takes everything down, as core/pipeline does.
func (w *world) end() {
	p := w.plan
	if p.ending == orderly {
		w.tell("repair")
		for _, o := range w.sinks {
			o.heal()
		}
		w.sleep(healing)
		for _, worker := range w.workers {
			w.flush(worker)
		}
		w.sleep(healing)
		w.check()
		p.drain = healing
	}
	w.tell("end")
	for _, worker := range w.workers {
		w.flush(worker)
		worker.lane.Finish(int64(time.Since(w.begun)), time.Now().UnixNano())
	}
	for _, o := range w.sinks {
		o.v.mu.Lock()
		o.v.ending = true
		o.v.mu.Unlock()
	}
	stop, done := make(chan struct{}), make(chan struct{})
	var announcing sync.WaitGroup
	for i, o := range w.sinks {
		announcing.Go(func() {
			w.gate.AnnounceMissing(i, stop)
			o.ring.Drain()
		})
	}
	go func() { w.running.Wait(); close(done) }()
	if p.ending != now {
		deadline := time.NewTimer(p.drain)
		select {
		case <-done:
		case <-deadline.C:
		}
		deadline.Stop()
	}
	synctest.Wait()
	close(stop)
	announcing.Wait()
	w.atDeadline()
	w.stop()
	<-done
	w.tell("stopped")
	synctest.Wait()
	for _, o := range w.sinks {
		o.check()
		o.ceilings()
		o.ring.Abandon()
	}
	for _, o := range w.sinks {
		o.mu.Lock()
		wire := o.wire
		o.mu.Unlock()
		if wire != nil {
			wire.fair()
		}
		synctest.Wait()
		if l := o.program.current(); l != nil {
			l.stall(false)
		}
		synctest.Wait()
	}
	w.sleep(time.Minute) // what was sent arrives
	w.asking.Wait()
	for _, o := range w.sinks {
		o.books.table = o.v.table()
		o.program.stop()
	}
	w.final()
}
