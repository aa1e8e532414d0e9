package metrics

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/internal/httpconns"
)

// MaxConnections is how many HTTP connections are open at a time.
const MaxConnections = 64

// idleTimeout is how long a connection may wait for a request: longer than scrapers pause.
const idleTimeout = 2 * time.Minute

// ServerOptions say which requests a server answers.
type ServerOptions struct {
	// Hosts are the host names that requests may name, besides localhost. A request that names an address is answered:
	// a web page that makes a browser ask for it (DNS rebinding) can only name a host.
	Hosts []string
	Token string       // what requests bring as "Authorization: Bearer TOKEN"; "" is nothing
	Log   *slog.Logger // nil discards
	// Losses returns an error while records or packets are being lost: /healthz?strict is not healthy then. It may be nil.
	Losses func() error
	// Crowded counts the connections that are closed for newer ones, also of servers whose place this one takes; nil: a counter of its own.
	Crowded *atomic.Uint64
	// Page answers at every other path than /metrics, /healthz and /status, whether the token is there or not. It may be nil.
	Page http.Handler
}

// Server serves HTTP to a bounded number of connections.
type Server struct{ *httpconns.Server }

// NewServer returns a server of [Handler] with its own metrics among the others. The caller calls Serve, once.
func NewServer(c *Collector, status func() any, health func() error, o ServerOptions) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	open := httpconns.New(MaxConnections, cmp.Or(o.Crowded, new(atomic.Uint64)))
	h := guard(Strict(Handler(c, status, health, conns{open}), health, o.Losses), o)
	return &Server{open.Server(h, idleTimeout, o.Log.With("listener", "metrics"))}
}

// guard answers requests that name one of the server's hosts and bring the token, or are for the page.
func guard(next http.Handler, o ServerOptions) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A page of another site, or of another port of this host, can neither load what is answered nor have it taken for a script.
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
		if !ours(r.Host, o.Hosts) {
			http.Error(w, fmt.Sprintf("the host %q is not known here: see service.metrics_hosts", r.Host), http.StatusMisdirectedRequest)
			return
		}
		switch {
		case o.Page != nil && !forMachines(r.URL.Path):
			o.Page.ServeHTTP(w, r)
		case o.Token != "" && !HasToken(r, o.Token):
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a token is needed: see service.metrics_token", http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// forMachines reports whether [Handler] answers at a path.
func forMachines(path string) bool {
	return path == "/metrics" || path == "/healthz" || path == "/status"
}

// HasToken reports whether a request brings the token, as "Authorization: Bearer TOKEN".
func HasToken(r *http.Request, want string) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && SameToken(token, want)
}

// SameToken compares a token that somebody brings. How long that takes tells nothing of the one that is wanted.
func SameToken(got, want string) bool {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// ours reports whether a Host header may be answered: it is an address, localhost, one of the names, or missing, which
// no browser's is.
func ours(header string, names []string) bool {
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), ".")
	if _, err := netip.ParseAddr(host); err == nil || host == "" || strings.EqualFold(host, "localhost") {
		return true
	}
	for _, name := range names {
		if strings.EqualFold(host, strings.TrimSuffix(name, ".")) {
			return true
		}
	}
	return false
}
