package kept

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/internal/statedir"
)

// State is what the last run has kept.
type State struct {
	Head
	Tail
	Names   []Names
	Held    [][]replay.Held // by sink
	Dropped []byte          // flows, see [session.Table.TakeOverDropped]; nil: the last run read no packets

	*statedir.Kept
}

// Read reads what the last run has kept, and checks all of it but the pieces of sources; nil if there is nothing. What cannot be used, since
// it is broken, of another layout, of another boot, or older than [MaxAge], is put aside, and why says so; an error is that of the disk. The
// caller closes the state.
func Read(dir *statedir.Dir, boot string, now time.Time) (_ *State, why, err error) {
	k, err := dir.Kept()
	if k == nil || err != nil {
		return nil, nil, err
	}
	s := &State{Kept: k}
	if why = s.readFrom(k.Frames, boot, now); why == nil {
		return s, nil, nil
	}
	if _, failed := errors.AsType[*fs.PathError](why); failed { // the next run may be able to read it
		return nil, nil, errors.Join(why, k.Close())
	}
	return nil, why, errors.Join(k.PutAside(why), k.Close())
}

// readFrom reads what frames yields.
func (s *State) readFrom(frames func(each func(kind uint8, payload []byte) error) error, boot string, now time.Time) error {
	var sessions, records uint64
	last := uint8(0)
	err := frames(func(kind uint8, payload []byte) error {
		if kind < last || (kind == headFrame) != (last == 0) || kind == tailFrame && last == tailFrame {
			return fmt.Errorf("it stands behind one of type %d", last)
		}
		last = kind
		switch kind {
		case headFrame:
			return s.head(payload, boot, now)
		case namesFrame:
			return s.names(payload)
		case recordsFrame:
			n, err := s.records(payload)
			records += n
			return err
		case sessionsFrame:
			n, err := session.CheckKept(payload)
			sessions += uint64(n)
			return err
		case droppedFrame:
			s.Dropped = bytes.Clone(payload)
			return nil
		case sourceFrame:
			_, _, err := s.piece(payload)
			return err
		case tailFrame:
			return decode(payload, &s.Tail)
		}
		return errors.New("an unknown type")
	})
	switch {
	case err != nil:
		return err
	case last != tailFrame, s.Tail.Sessions != sessions, s.Tail.Records != records, len(s.Ends) != len(s.Sources), len(s.Names) == 0:
		return errors.New("it is not complete")
	}
	for i := range s.Sinks {
		if err := s.Sinks[i].Position.Check(s.Held[i]); err != nil {
			return fmt.Errorf("sink %s: %w", s.Sinks[i].Name, err)
		}
	}
	return nil
}

// decode reads JSON, strictly.
func decode(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("there is something behind it")
	}
	return nil
}

// head reads the first frame. What it is is looked at before everything else: another layout has other members.
func (s *State) head(b []byte, boot string, now time.Time) error {
	var which struct {
		Versions Versions `json:"versions"`
		Boot     string   `json:"boot"`
		Stopped  int64    `json:"stopped"`
	}
	if err := json.Unmarshal(b, &which); err != nil {
		return err
	}
	age := now.Sub(time.Unix(0, which.Stopped))
	switch {
	case which.Versions != versions():
		return fmt.Errorf("it has the layout %+v, this program has %+v", which.Versions, versions())
	case which.Boot != boot:
		return errors.New("the machine was started since, or the clock is that of another time namespace")
	case age > MaxAge:
		return fmt.Errorf("it is %s old, at most %s are allowed", age.Round(time.Second), MaxAge)
	}
	if err := decode(b, &s.Head); err != nil {
		return err
	}
	if len(s.Sinks) > 1<<16 || len(s.Sources) > 1<<16 {
		return fmt.Errorf("%d sinks, %d sources", len(s.Sinks), len(s.Sources))
	}
	s.Held = make([][]replay.Held, len(s.Sinks))
	return nil
}

func (s *State) names(b []byte) error {
	var n Names
	if err := decode(b, &n); err != nil {
		return err
	}
	if !n.check() || len(s.Names) > 0 && n.First <= s.Names[len(s.Names)-1].Newest() {
		return fmt.Errorf("names of %d generations from %d on", len(n.Generations), n.First)
	}
	s.Names = append(s.Names, n)
	return nil
}

// records reads records of a ring. What names their ids have was read before them.
func (s *State) records(b []byte) (n uint64, err error) {
	if len(b) < 2 || int(binary.LittleEndian.Uint16(b)) >= len(s.Sinks) {
		return 0, errors.New("of no sink")
	}
	held := &s.Held[binary.LittleEndian.Uint16(b)]
	for b = b[2:]; len(b) > 0; n++ {
		var h replay.Held
		if b, err = h.DecodeHeld(b); err != nil {
			return n, err
		}
		if s.namesOf(h.Record.Generation) == nil {
			return n, fmt.Errorf("a record of generation %d, which has no names", h.Record.Generation)
		}
		*held = append(*held, h)
	}
	return n, nil
}

// namesOf returns the names that have a generation, nil if none have.
func (s *State) namesOf(generation uint32) *Names {
	for i := range s.Names {
		if s.Names[i].Has(generation) {
			return &s.Names[i]
		}
	}
	return nil
}

// piece reads a piece of a source.
func (s *State) piece(b []byte) (of int, piece []byte, err error) {
	if len(b) < 2 || int(binary.LittleEndian.Uint16(b)) >= len(s.Sources) {
		return 0, nil, errors.New("of no source")
	}
	return int(binary.LittleEndian.Uint16(b)), b[2:], nil
}

// errEnough ends the reading of frames.
var errEnough = errors.New("enough")

// Sessions iterates over the sessions of packets, see [session.Table.TakeOver]: many at once, valid until the next. An error, that of the
// disk, is the last.
func (s *State) Sessions() iter.Seq2[[]byte, error] {
	return s.frames(sessionsFrame, func(payload []byte) ([]byte, bool) { return payload, true })
}

// Pieces iterates over the pieces of a source in the same way.
func (s *State) Pieces(i int) iter.Seq2[[]byte, error] {
	return s.frames(sourceFrame, func(payload []byte) ([]byte, bool) {
		of, piece, err := s.piece(payload)
		return piece, err == nil && of == i
	})
}

func (s *State) frames(kind uint8, pick func([]byte) ([]byte, bool)) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		err := s.Frames(func(k uint8, payload []byte) error {
			if k != kind {
				return nil
			}
			if b, ok := pick(payload); ok && !yield(b, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(nil, err)
		}
	}
}
