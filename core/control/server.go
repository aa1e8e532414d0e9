package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/internal/httpconns"
)

// MaxConnections is how many connections are open at a time. The oldest that asks nothing is closed for one more.
const MaxConnections = 64

// Limits of a connection that waits for a request, and of a reload.
const (
	idleTimeout   = time.Minute
	reloadTimeout = 2 * time.Minute
)

// Daemon is what a daemon lets an operator ask. Its functions are called concurrently.
type Daemon struct {
	Version string
	Config  string       // path of the configuration
	Pages   http.Handler // answers what this package does not: status, health, metrics
	// Reload has the configuration read again, and returns what came of it, or an error if ctx or the daemon ended before that.
	Reload func(ctx context.Context) (Outcome, error)
	Events *Events
	Top    *Top
	Log    *slog.Logger // nil discards
}

// Identity says which daemon has the socket.
type Identity struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
	Config  string `json:"config"` // absolute path of its configuration
}

// Outcome is what came of a reload.
type Outcome struct {
	Taken   bool   `json:"taken"`           // what was read is what runs now
	Changed bool   `json:"changed"`         // and it differs from what ran before
	Number  int    `json:"number"`          // of the configuration that runs now
	Error   string `json:"error,omitempty"` // why what was read was not taken over
	// Changes are the keys that differ from what ran before, without their values: "changed sessions.tcp_timeout".
	Changes []string `json:"changes,omitempty"`
	// Gaps are sources that were opened again, also if what was read was not taken over.
	Gaps []Gap `json:"gaps,omitempty"`
	// Problems are mistakes and warnings of the configuration, each with its place.
	Problems []string `json:"problems,omitempty"`
	// Warnings are what the daemon's log has warned of meanwhile, such as an interface that the host does not have: its lines, without the time.
	Warnings []string `json:"warnings,omitempty"`
}

// Gap says for how long a source was not read.
type Gap struct {
	Source  string  `json:"source"`
	Seconds float64 `json:"seconds"`
}

// Server answers at a socket.
type Server struct{ *httpconns.Server }

// NewServer returns a server for a daemon. The caller calls Serve, once.
func NewServer(d Daemon) *Server {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /daemon", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, Identity{PID: os.Getpid(), Version: d.Version, Config: d.Config})
	})
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) { reload(w, r, d.Reload) })
	if d.Events != nil {
		mux.HandleFunc("GET /events", d.Events.events)
	}
	if d.Top != nil {
		mux.HandleFunc("GET /top", func(w http.ResponseWriter, r *http.Request) { d.Top.stream(w, r, d.Events) })
	}
	if d.Pages != nil {
		mux.Handle("/", d.Pages)
	}
	return &Server{httpconns.New(MaxConnections, new(atomic.Uint64)).Server(mux, idleTimeout, d.Log.With("listener", "control"))}
}

func reload(w http.ResponseWriter, r *http.Request, do func(context.Context) (Outcome, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), reloadTimeout)
	defer cancel()
	if err := patience(w, reloadTimeout+httpconns.WriteTimeout); err != nil {
		return // the peer has gone
	}
	outcome, err := do(ctx)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	answer(w, http.StatusOK, outcome)
}

// patience lets an answer take so long. The end of a request's time to arrive would end it as well.
func patience(w http.ResponseWriter, d time.Duration) error {
	rc := http.NewResponseController(w)
	return errors.Join(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Now().Add(d)))
}

// answer writes an answer. An error means that the peer has gone.
func answer(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(value)
}
