package httpconns

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
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
type Server struct{ http http.Server }

// Server returns a server of h on these connections. A connection that asks nothing is closed after idle. The caller calls Serve, once.
func (c *Conns) Server(h http.Handler, idle time.Duration, log *slog.Logger) *Server {
	return &Server{http.Server{
		Handler:           h,
		ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: WriteTimeout, IdleTimeout: idle,
		MaxHeaderBytes: MaxHeaderBytes,
		ConnState:      c.Changed,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}
}

// Serve accepts connections until Close, and then returns nil. It closes the listener.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close ends Serve and closes all connections.
func (s *Server) Close() error { return s.http.Close() }
