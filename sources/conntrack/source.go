package conntrack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/namespace"
	"github.com/rtflow/pipelined/internal/nfnetlink"
)

// Config says what to read.
type Config struct {
	AtEnd      bool // a TCP connection ends when its state says so, not when its entry is destroyed
	Max        int  // sessions; 0 for as many as the kernel has room for
	Accounting bool // turn the kernel's accounting and timestamps on
	Buffer     int  // bytes, of the socket for events
	// Warn is told what an operator should know: a message and pairs of key and value. May be nil.
	Warn func(msg string, args ...any)

	zones []zoneRule
}

// Source is an open source. Its methods are safe for concurrent use.
type Source struct {
	namespace *namespace.Namespace
	stream    *Stream
	status    Status
	closing   sync.Once
	closeErr  error
}

var _ source.Events = (*Source)(nil)

// Sizes of what sockets receive. An event is a few hundred bytes. The kernel makes the parts of a dump as long as there is room for
// them, up to 32 KiB.
const (
	eventSize   = 8 << 10
	answerSize  = 8 << 10
	answersSize = 1 << 20 // of the buffer for answers
	dumpSize    = 32 << 10
	dumpPieces  = 2
)

// answerTime is how long the kernel may take to load a module.
const answerTime = 5 * time.Second

// Open opens the source in the network namespace of the calling thread.
func Open(config Config) (_ *Source, err error) {
	if config.Warn == nil {
		config.Warn = func(string, ...any) {}
	}
	s := &Source{stream: &Stream{
		atEnd: config.AtEnd, zones: config.zones, asks: make([]ask, 0, maxAsks), requests: make([]byte, 0, maxAsks*256),
	}}
	if s.namespace, err = namespace.Current(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	most, err := s.openAsking()
	if err != nil {
		return nil, err
	}
	s.status.Max = config.Max
	if config.Max == 0 {
		s.status.Max = min(max(most, leastSessions), maxSessions)
	}
	s.stream.sessions = newSessions(s.status.Max)
	s.settings(config)
	if err := s.openEvents(config); err != nil {
		return nil, err
	}
	opened := time.Now().UnixNano()
	s.stream.resync = newResync(s.dialDumps, opened)
	s.stream.quiet, s.stream.serial = opened, uint32(opened/1e9)
	if s.stream.dumping, err = s.dialDumps(); err != nil {
		return nil, err
	}
	return s, nil
}

// leastSessions is how many sessions there is room for where the kernel has room for fewer.
const leastSessions = 1 << 16

// openAsking opens the socket that asks for entries, and returns how many the kernel has room for. Its first request makes the
// kernel load its modules.
func (s *Source) openAsking() (most int, err error) {
	socket, err := dial(maxAsks, answerSize)
	if err != nil {
		return 0, err
	}
	s.stream.asking = socket
	if _, err := socket.SetBuffer(answersSize); err != nil {
		return 0, err
	}
	err = socket.Execute(ctnetlink.AppendStats(nil, socket.NextSeq()), answerTime, func(m nfnetlink.Message) {
		if stats, ok := ctnetlink.DecodeStats(&m); ok {
			most = int(stats.Max)
		}
	})
	switch {
	case errors.Is(err, nfnetlink.ErrPermission):
		return 0, ErrCapability
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return 0, ErrModule
	case err != nil:
		return 0, fmt.Errorf("ask for the number of sessions: %w", err)
	}
	return most, nil
}

// openEvents opens the socket for events. What happens from now on is an event; what was before, a dump brings.
func (s *Source) openEvents(config Config) error {
	socket, err := dial(nfnetlink.Datagrams, eventSize)
	if err != nil {
		return err
	}
	s.stream.events = socket
	if s.status.Buffer, err = socket.SetBuffer(config.Buffer); err != nil {
		return err
	}
	if s.status.Buffer < config.Buffer {
		s.note(config, fmt.Sprintf("the receive buffer has %d bytes, not %d: run with CAP_NET_ADMIN in the first user namespace, or: "+
			"sysctl -w net.core.rmem_max=%d", s.status.Buffer, config.Buffer, config.Buffer))
	}
	needless := []ctnetlink.State{ctnetlink.Established, ctnetlink.FinWait, ctnetlink.CloseWait, ctnetlink.LastAck}
	if !config.AtEnd {
		needless = append(needless, ctnetlink.TimeWait, ctnetlink.Close)
	}
	if err := socket.Filter(ctnetlink.WithoutUpdates(needless...)); err != nil {
		return err
	}
	for _, group := range []uint32{unix.NFNLGRP_CONNTRACK_NEW, unix.NFNLGRP_CONNTRACK_UPDATE, unix.NFNLGRP_CONNTRACK_DESTROY} {
		if err := socket.Join(group); errors.Is(err, nfnetlink.ErrPermission) {
			return ErrCapability
		} else if err != nil {
			return err
		}
	}
	return nil
}

// dial opens a socket in the namespace of the calling thread.
func dial(datagrams, size int) (*nfnetlink.Socket, error) {
	s, err := nfnetlink.OpenSized(datagrams, size)
	switch {
	case errors.Is(err, nfnetlink.ErrProtocol):
		return nil, ErrModule
	case errors.Is(err, nfnetlink.ErrPermission):
		return nil, ErrCapability
	}
	return s, err
}

// dialDumps opens a socket for dumps in the namespace of the source.
func (s *Source) dialDumps() (socket, error) {
	var opened *nfnetlink.Socket
	var err error
	if nsErr := s.namespace.Run(func() { opened, err = dial(dumpPieces, dumpSize) }); nsErr != nil {
		return nil, errors.Join(err, nsErr)
	}
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// Settings of the kernel, below net.netfilter.
const (
	accounting = "nf_conntrack_acct"
	timestamps = "nf_conntrack_timestamp"
	events     = "nf_conntrack_events"
)

// kernelSetting is a setting that is not to be 0, and what is not known without it.
type kernelSetting struct{ name, without string }

func kernelSettings() []kernelSetting {
	return []kernelSetting{
		{accounting, "packets and bytes of sessions are not counted, and are 0 in records"},
		{timestamps, "sessions begin and end when the daemon reads of it; of those that were there before it, the beginning is not known"},
		{events, "sessions that begin are not told of"},
	}
}

// settings changes the kernel's settings in the namespace of the calling thread, if the configuration says so, and tells an operator
// what is not known because of them.
func (s *Source) settings(config Config) {
	for _, c := range kernelSettings() {
		if value, err := setting(c.name); err != nil || value != 0 || !config.Accounting {
			continue
		}
		if err := os.WriteFile(settingPath(c.name), []byte("1"), 0); err != nil {
			config.Warn(fmt.Sprintf("%s cannot be set (%v)", c.name, err))
		}
	}
	for _, missing := range missingSettings() {
		config.Warn(missing)
	}
}

// missingSettings says what is not known because of the kernel's settings, with the commands that change it, in the namespace of the
// calling thread.
func missingSettings() (texts []string) {
	for _, c := range kernelSettings() {
		command := machine.Sysctl("net.netfilter."+c.name, 1)
		switch value, err := setting(c.name); {
		case err != nil:
			texts = append(texts, fmt.Sprintf("%s: %s cannot be read (%v): %s", c.without, c.name, err, command))
		case value == 0:
			texts = append(texts, c.without+": "+command)
		}
	}
	return texts
}

// note tells an operator something when the source is opened, and whenever its status is asked for.
func (s *Source) note(config Config, text string) {
	s.status.Notes = append(s.status.Notes, text)
	config.Warn(text)
}

func settingPath(name string) string { return filepath.Join("/proc/sys/net/netfilter", name) }

// setting reads a setting of the kernel.
func setting(name string) (int, error) {
	text, err := os.ReadFile(settingPath(name))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// Stream implements [source.Events].
func (s *Source) Stream() source.EventStream { return s.stream }

// Close closes the sockets. Nobody reads any more. Closing twice returns the same error twice.
func (s *Source) Close() error {
	s.closing.Do(func() { s.closeErr = s.release() })
	return s.closeErr
}

func (s *Source) release() error {
	var errs []error
	for _, socket := range []socket{s.stream.events, s.stream.asking, s.stream.dumping} {
		if socket != nil {
			errs = append(errs, socket.Close())
		}
	}
	return errors.Join(append(errs, s.namespace.Close())...)
}
