package httpconns

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of a request of a [Server].
const (
	readTimeout = 5 * time.Second

	// MaxHeaderBytes is how long the header of a request may be.
	MaxHeaderBytes = 16 << 10
	// WriteTimeout is how long an answer may take to be taken, from the end of the request's header on.
	WriteTimeout = 10 * time.Second
)

// Server serves HTTP to a bounded number of connections, and bounds the time of each request.
type Server struct {
	http    http.Server
	retires atomic.Bool

	mu       sync.Mutex
	listener net.Listener // nil: not yet
}

// Server returns a server of h on these connections. A connection that asks nothing is closed after idle. The caller calls Serve, once.
func (c *Conns) Server(h http.Handler, idle time.Duration, log *slog.Logger) *Server {
	s := new(Server)
	s.http = http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s.retires.Load() {
				w.Header().Set("Connection", "close")
			}
			h.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: WriteTimeout, IdleTimeout: idle,
		MaxHeaderBytes: MaxHeaderBytes,
		ConnState:      c.Changed,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return s
}

// Serve accepts connections until Close or Retire, and then returns nil. It closes the listener.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	s.listener = l
	s.mu.Unlock()
	if s.retires.Load() {
		return l.Close()
	}
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) && !s.retires.Load() {
		return err
	}
	return nil
}

// Refuse closes the listener: when it returns nobody is let in any more.
func (s *Server) Refuse() {
	s.retires.Store(true)
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	if l != nil {
		_ = l.Close() // Close or Serve may have closed it
	}
}

// Retire refuses further connections, has each connection answer the request that is under way, also if its header has not come whole yet, and
// closes it. What lasts, such as a stream of events, it cuts off when an answer would have been taken, and everything when ctx ends.
// http.Server.Shutdown alone would leave a request unanswered whose header is incomplete.
func (s *Server) Retire(ctx context.Context) error {
	s.Refuse()
	timer := time.NewTimer(readTimeout)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(ctx, WriteTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) == nil {
		return nil
	}
	return s.Close()
}

// Close ends Serve and closes all connections.
func (s *Server) Close() error { return s.http.Close() }
