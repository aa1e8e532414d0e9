package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"time"

	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/sdk/event"
)

//go:embed assets login.html
var embedded embed.FS

// Pipeline is what the page shows.
type Pipeline interface {
	Shape() pipeline.Shape
	Snapshot() metrics.Snapshot
	Status() pipeline.Status
	Health() error
	Losses() error
	Tail() *tail.Tail
	Names(generation uint32) *event.Names
	LatestNames() *event.Names
}

var _ Pipeline = (*pipeline.Pipeline)(nil)

// Options say how a page is served.
type Options struct {
	Hostname string // of the node, for the title
	Version  string // of the program
	Token    string // what a browser has to bring; "" is nothing
}

// Page is the page of a pipeline. Safe for concurrent use.
type Page struct {
	access *access
	state  *state
	events *events
	files  map[string]file // by path
	login  *template.Template
	mux    http.ServeMux
}

// file is one that is embedded.
type file struct {
	content   []byte
	mediatype string
	etag      string
}

// New returns the page of a pipeline. It answers at /, /login, /logout, /assets/ and /page/. The caller has checked the Host header.
func New(pl Pipeline, o Options) (*Page, error) {
	p := &Page{access: newAccess(o.Token), state: newState(pl, o), events: newEvents(pl), files: make(map[string]file)}
	var err error
	if p.login, err = template.ParseFS(embedded, "login.html"); err != nil {
		return nil, err
	}
	err = fs.WalkDir(embedded, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := embedded.ReadFile(name)
		sum := sha256.Sum256(content)
		p.files["/"+name] = file{content, mime.TypeByExtension(path.Ext(name)), `"` + hex.EncodeToString(sum[:8]) + `"`}
		return err
	})
	if err != nil {
		return nil, err
	}
	p.mux.HandleFunc("GET /{$}", p.inside(func(w http.ResponseWriter, r *http.Request) { p.serveFile(w, r, "/assets/index.html") }))
	p.mux.HandleFunc("GET /assets/", func(w http.ResponseWriter, r *http.Request) { p.serveFile(w, r, r.URL.Path) })
	p.mux.HandleFunc("GET /page/state", p.inside(p.state.serve))
	p.mux.HandleFunc("GET /page/events", p.inside(p.events.serve))
	p.mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		if p.access.allowed(r) {
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		p.askToken(w, http.StatusOK, false)
	})
	p.mux.HandleFunc("POST /login", p.logIn)
	p.mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		p.access.remember(w, r, false)
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	})
	return p, nil
}

// ServeHTTP answers a request.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	headers(w.Header())
	w.Header().Set("Cache-Control", "no-store")
	if foreign(r) {
		http.Error(w, "asked for by another site", http.StatusForbidden)
		return
	}
	p.mux.ServeHTTP(w, r)
}

// inside answers those who may see the page. A browser that comes for it is asked for the token.
func (p *Page) inside(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case p.access.allowed(r):
			next(w, r)
		case r.URL.Path == "/":
			http.Redirect(w, r, "/login", http.StatusSeeOther)
		default:
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a token is needed: see service.metrics_token", http.StatusUnauthorized)
		}
	}
}

func (p *Page) serveFile(w http.ResponseWriter, r *http.Request, name string) {
	f, ok := p.files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-cache") // keep it, and ask whether it is still the same
	w.Header().Set("Content-Type", f.mediatype)
	w.Header().Set("ETag", f.etag)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(f.content))
}

// logIn answers a login form.
func (p *Page) logIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if p.access.token != "" && !metrics.SameToken(r.PostFormValue("token"), p.access.token) {
		p.askToken(w, http.StatusUnauthorized, true)
		return
	}
	p.access.remember(w, r, true)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// askToken writes the login form.
func (p *Page) askToken(w http.ResponseWriter, code int, wrong bool) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_ = p.login.Execute(w, struct{ Host, Wrong any }{p.state.Hostname, wrong}) // an error means that the client has gone
}
