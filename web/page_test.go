package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hostile is a name that would do harm if it were anything but text.
const hostile = `<img src=x onerror="document.title='harm'">` + "\u202e" + `<b>rule</b>'"&amp;${1}`

// fake is a pipeline with a gate of its own.
type fake struct {
	tail  *tail.Tail
	lane  *tail.Lane
	names event.Names

	mu     sync.Mutex
	began  time.Time
	reads  int
	ledger metrics.Ledger
	sick   error
}

func newFake() *fake {
	f := &fake{
		tail: tail.New(), began: time.Now(),
		names: event.Names{
			Zones:    map[uint16]string{1: "trust", 2: hostile},
			Policies: []string{"", "web-out", hostile},
		},
		ledger: metrics.Ledger{
			Packets: metrics.Packets{Received: 1000, Passed: 1000, Offloaded: 10, Bypassed: 5, ByZone: map[string]uint64{"trust": 300, hostile: 700}}, Events: map[string]metrics.Events{"policy-deny": {Offered: 10, Admitted: 10}},
			Sinks: map[string]map[string]metrics.Queue{hostile: {"policy-deny": {Queued: 10, Acknowledged: 6, Spool: &metrics.Spool{Spooled: 10, Unspooled: 7, Evicted: 1, Held: 3}}}},
		},
	}
	f.lane = f.tail.Add()
	return f
}

func (f *fake) Shape() pipeline.Shape {
	return pipeline.Shape{
		Sources: []pipeline.Part{{Name: "wan", Plugin: "afpacket"}}, Hooks: []pipeline.Part{{Name: "policies", Plugin: "policydeny"}},
		Sinks: []pipeline.Part{{Name: hostile, Plugin: "file"}},
	}
}

func (f *fake) Snapshot() metrics.Snapshot {
	return metrics.Snapshot{Sources: map[string][]source.Counter{"wan": {
		{Name: "received", Value: f.read().Packets.Received}, {Name: "bytes", Value: 7}, {Name: "ring_dropped", Value: 3, Lost: true},
	}}}
}

func (f *fake) Status() pipeline.Status {
	s := pipeline.Status{Epoch: 1, Uptime: f.uptime(), Ledger: f.read(), Sinks: map[string]pipeline.SinkStatus{hostile: {Up: true}}}
	st := s.Sinks[hostile]
	st.LastError = hostile
	st.Spool = &pipeline.SpoolStatus{Held: 3, Bytes: 500, Size: 1000, Full: hostile}
	s.Sinks[hostile] = st
	s.Configuration.Number = 1
	return s
}

func (f *fake) Health() error             { return f.sick }
func (f *fake) Losses() error             { return nil }
func (f *fake) Tail() *tail.Tail          { return f.tail }
func (f *fake) Names(uint32) *event.Names { return &f.names }
func (f *fake) LatestNames() *event.Names { return &f.names }
func (f *fake) read() (l metrics.Ledger) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	return f.ledger
}

func (f *fake) uptime() float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.began).Seconds()
}

// restarted makes it another run, that has kept its state.
func (f *fake) restarted() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.began = time.Now()
}

// moved counts more packets.
func (f *fake) moved(n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ledger.Packets.Received += n
	f.ledger.Packets.Passed += n
}

// admit shows n denials of a policy from a port. Somebody looks.
func (f *fake) admit(n int, policy uint32, port uint16) {
	for n > 0 {
		if f.admitOne(policy, port) {
			n--
		} else {
			runtime.Gosched() // the lane's buffer is being taken
		}
	}
}

// admitOne shows a denial, unless nobody looks or the lane's buffer is being taken.
func (f *fake) admitOne(policy uint32, port uint16) bool {
	if f.lane.Begin(1) == 0 {
		return false
	}
	defer f.lane.End()
	var rec event.Record
	rec.Reset(event.PolicyDeny)
	rec.SetTime(time.Now().UnixNano())
	src, dst := [16]byte{10, 0, 1, 21}, [16]byte{198, 51, 100, 10}
	rec.SetFlow(event.FamilyIPv4, 6, &src, &dst, port, 443)
	rec.SetZones(1, 2)
	rec.SetAction(event.ActionDeny)
	rec.SetDeny(policy, 1, 0)
	f.lane.Put(&rec)
	return true
}

// serve serves the page as the daemon does until the test ends.
func serve(tb testing.TB, f *fake, token string, hosts ...string) (address string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	page, err := New(f, Options{Hostname: "edge-1", Version: "1.2.3", Token: token})
	if err != nil {
		tb.Fatal(err)
	}
	s := metrics.NewServer(metrics.NewCollector(f.Snapshot), func() any { return 1 }, f.Health, metrics.ServerOptions{Hosts: hosts, Token: token, Page: page})
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	tb.Cleanup(func() {
		if err := errors.Join(s.Close(), <-done); err != nil {
			tb.Error(err)
		}
	})
	return l.Addr().String()
}

// client returns one that keeps cookies, follows no redirect, and has no connection left when the test ends.
func client(tb testing.TB) *http.Client {
	tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	tr := &http.Transport{}
	tb.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func do(tb testing.TB, c *http.Client, method, target, body string, headers ...string) (*http.Response, string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, target, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := c.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return resp, string(text)
}

func TestHeaders(t *testing.T) {
	base := "http://" + serve(t, newFake(), "")
	c := client(t)
	for path, want := range map[string]struct {
		code int
		kind string
	}{
		"/": {200, "text/html; charset=utf-8"}, "/assets/page.js": {200, "text/javascript; charset=utf-8"},
		"/assets/page.css": {200, "text/css; charset=utf-8"}, "/assets/icon.svg": {200, "image/svg+xml"},
		"/page/state": {200, "application/json"}, "/login": {303, "text/html; charset=utf-8"},
		"/assets/": {404, ""}, "/assets/../page.go": {307, ""}, "/nothing": {404, ""},
		"/page/events?port=x": {200, "text/event-stream; charset=utf-8"},
	} {
		resp, _ := do(t, c, http.MethodGet, base+path, "")
		h := resp.Header
		if resp.StatusCode != want.code || want.kind != "" && h.Get("Content-Type") != want.kind {
			t.Errorf("%s: %d %s, want %+v", path, resp.StatusCode, h.Get("Content-Type"), want)
		}
		csp := h.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(csp, part) {
				t.Errorf("%s: the policy %q lacks %s", path, csp, part)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
			t.Errorf("%s: the policy %q is not strict", path, csp)
		}
		for name, want := range map[string]string{
			"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": "",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
	// What a browser has is not sent again.
	resp, _ := do(t, c, http.MethodGet, base+"/assets/page.js", "")
	if again, body := do(t, c, http.MethodGet, base+"/assets/page.js", "", "If-None-Match", resp.Header.Get("ETag")); again.StatusCode != 304 || body != "" {
		t.Errorf("asked again: %d, %d bytes", again.StatusCode, len(body))
	}
}

// No answer asks a browser to load anything from elsewhere.
func TestAssetsAskNobody(t *testing.T) {
	p, err := New(newFake(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range p.files {
		text := strings.ReplaceAll(string(f.content), "http://www.w3.org/2000/svg", "")
		for _, word := range []string{"http:", "https:", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style="} {
			if strings.Contains(text, word) {
				t.Errorf("%s has %s", name, word)
			}
		}
		if f.mediatype == "" {
			t.Errorf("%s has no type", name)
		}
	}
}

func TestHosts(t *testing.T) {
	address := serve(t, newFake(), "", "edge-1")
	c := client(t)
	for host, want := range map[string]int{address: 200, "localhost": 200, "edge-1:9464": 200, "evil.example": 421, "127.0.0.1.evil.example:9464": 421} {
		for _, path := range []string{"/", "/page/state", "/page/events?port=x", "/assets/page.js"} {
			if resp, _ := do(t, c, http.MethodGet, "http://"+address+path, "", "Host", host); resp.StatusCode != want {
				t.Errorf("%s asked as %q: %d, want %d", path, host, resp.StatusCode, want)
			}
		}
	}
}

// A page of another site makes the browser ask for nothing but what a link asks for.
func TestOtherSites(t *testing.T) {
	base := "http://" + serve(t, newFake(), "s3cret")
	c := client(t)
	bearer := []string{"Authorization", "Bearer s3cret"}
	for _, k := range []struct {
		method, path, site, mode, origin string
		code                             int
	}{
		{"GET", "/page/state", "same-origin", "cors", "", 200},
		{"GET", "/page/state", "", "", "", 200},
		{"GET", "/page/state", "cross-site", "cors", "", 403},
		{"GET", "/page/state", "same-site", "no-cors", "", 403}, // another port of this host
		{"GET", "/page/events?port=x", "cross-site", "cors", "", 403},
		{"GET", "/assets/page.js", "cross-site", "no-cors", "", 403},
		{"GET", "/", "cross-site", "navigate", "", 200},
		{"GET", "/page/state", "cross-site", "navigate", "", 403},
		{"POST", "/login", "cross-site", "navigate", "", 403},
		{"POST", "/login", "", "", "http://evil.example", 403},
		{"POST", "/login", "same-origin", "navigate", "", 401},
		{"POST", "/logout", "cross-site", "navigate", "", 403},
	} {
		headers := append([]string{}, bearer...)
		for name, value := range map[string]string{"Sec-Fetch-Site": k.site, "Sec-Fetch-Mode": k.mode, "Origin": k.origin} {
			if value != "" {
				headers = append(headers, name, value)
			}
		}
		if resp, _ := do(t, c, k.method, base+k.path, "", headers...); resp.StatusCode != k.code {
			t.Errorf("%+v: %d", k, resp.StatusCode)
		}
	}
}

func TestLogin(t *testing.T) {
	base := "http://" + serve(t, newFake(), "s3cret")
	c := client(t)
	get := func(path string, want int, headers ...string) *http.Response {
		t.Helper()
		resp, body := do(t, c, http.MethodGet, base+path, "", headers...)
		if resp.StatusCode != want || strings.Contains(body, "s3cret") {
			t.Errorf("%s: %d, want %d\n%s", path, resp.StatusCode, want, body)
		}
		return resp
	}
	logIn := func(token string) *http.Response {
		t.Helper()
		resp, _ := do(t, c, http.MethodPost, base+"/login", url.Values{"token": {token}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		return resp
	}
	if to := get("/", 303).Header.Get("Location"); to != "/login" {
		t.Errorf("leads to %q", to)
	}
	get("/page/state", 401)
	get("/page/events?port=x", 401)
	get("/metrics", 401)
	get("/login", 200)
	get("/page/state", 200, "Authorization", "Bearer s3cret")
	get("/page/state", 401, "Authorization", "Bearer s3cre")
	for _, wrong := range []string{"", "s3cre", "s3cret ", strings.Repeat("x", 2*maxForm)} {
		if resp := logIn(wrong); resp.StatusCode != 401 || len(resp.Cookies()) > 0 {
			t.Errorf("%d bytes let in: %d", len(wrong), resp.StatusCode)
		}
	}
	resp := logIn("s3cret")
	cookies := resp.Cookies()
	if resp.StatusCode != 303 || len(cookies) != 1 {
		t.Fatalf("%d with %d cookies", resp.StatusCode, len(cookies))
	}
	k := cookies[0]
	if _, port, _ := net.SplitHostPort(strings.TrimPrefix(base, "http://")); !k.HttpOnly || k.SameSite != http.SameSiteStrictMode || k.Secure || strings.Contains(k.Value, "s3cret") ||
		k.Name != "pipelined_page_"+port {
		t.Errorf("the cookie is %v", k)
	}
	get("/", 200)
	get("/page/state", 200)
	get("/metrics", 401) // the cookie is for the page alone
	get("/login", 303)
	if resp, _ := do(t, c, http.MethodPost, base+"/logout", ""); resp.StatusCode != 303 {
		t.Errorf("logout: %d", resp.StatusCode)
	}
	get("/page/state", 401)
	until, mac, _ := strings.Cut(k.Value, ".")
	for _, forged := range []string{"", ".", "9" + k.Value, until + ".", until + "." + strings.ToLower(mac), mac, "1." + mac} {
		get("/page/state", 401, "Cookie", k.Name+"="+forged)
	}
	get("/page/state", 200, "Cookie", k.Name+"="+k.Value)
	a := newAccess("s3cret")
	old := httptest.NewRequest(http.MethodGet, "/", nil)
	old.AddCookie(&http.Cookie{Name: cookieName(old), Value: a.sign(time.Now().Add(-time.Second).Unix())})
	if a.allowed(old) {
		t.Error("a cookie that is too old lets in")
	}
}

// However many ask, the counters are read once a second.
func TestStateIsShared(t *testing.T) {
	f := newFake()
	base := "http://" + serve(t, f, "")
	c := client(t)
	_, first := do(t, c, http.MethodGet, base+"/page/state", "")
	f.mu.Lock()
	reads := f.reads
	f.mu.Unlock()
	began := time.Now()
	for range 50 {
		if _, body := do(t, c, http.MethodGet, base+"/page/state", ""); body != first && time.Since(began) < fresh/2 {
			t.Fatal("read again")
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if most := reads * (2 + int(time.Since(began)/fresh)); f.reads > most {
		t.Errorf("%d reads, and %d after the first question", f.reads, reads)
	}
	var p picture
	if err := json.Unmarshal([]byte(first), &p); err != nil {
		t.Fatal(err)
	}
	if p.Sources["wan"] != (sourcePicture{Read: 1000, Lost: 3}) || !p.Sinks[hostile].Up || p.Node != "edge-1" || p.Shape.Hooks[0].Name != "policies" {
		t.Errorf("%+v", p)
	}
}

// follow opens a stream and returns a function for its next message.
func follow(tb testing.TB, c *http.Client, target string) (next func() message, resp *http.Response) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	tb.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		tb.Fatal(err)
	}
	resp, err = c.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return func() (m message) {
		tb.Helper()
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &m); err != nil {
					tb.Fatal(err)
				}
				return m
			}
		}
		tb.Fatalf("the stream has ended: %v", lines.Err())
		return m
	}, resp
}

func TestStream(t *testing.T) {
	f := newFake()
	base := "http://" + serve(t, f, "")
	c := client(t)
	next, _ := follow(t, c, base+"/page/events?address=10.0.0.0/8&port=7000&policy=web-oot")
	if m := next(); len(m.Notes) != 1 || !strings.Contains(m.Notes[0], `did you mean "web-out"?`) {
		t.Errorf("it begins with %+v", m)
	}
	next, _ = follow(t, c, base+"/page/events?address=10.0.0.0/8&port=7000")
	next()
	f.admit(3, 2, 7000)
	f.admit(2, 1, 7001) // passes no filter, and is counted at its rule all the same
	var rows []row
	denied := make(map[string]uint64)
	for len(rows) < 3 || denied["web-out"] < 2 {
		m := next()
		rows = append(rows, m.Rows...)
		for _, d := range m.Denied {
			denied[d.Rule] += d.N
		}
	}
	r := rows[0]
	r.Time = 0
	if want := (row{
		Kind: "policy-deny", What: "deny", Src: "10.0.1.21:7000", Dst: "198.51.100.10:443", Service: "tcp", Rule: hostile, Zones: "trust>" + hostile,
	}); len(rows) != 3 || r.Src != want.Src || r.Rule != want.Rule || r.Zones != want.Zones || r.What != want.What || r.Service != want.Service {
		t.Errorf("%d rows, the first is\n%+v, want\n%+v", len(rows), r, want)
	}
	if denied[hostile] != 3 || denied["web-out"] != 2 {
		t.Errorf("denied: %v", denied)
	}
	for query, want := range map[string]string{
		"port=99999": "port: must be 0 to 65535", "address=1.2.3": "address: must be", "zone=trast": `did you mean "trust"`, "only=deny": "only: there is no kind",
	} {
		next, _ := follow(t, c, base+"/page/events?"+query)
		if m := next(); !strings.Contains(m.Refused, want) {
			t.Errorf("%s: %+v", query, m)
		}
	}
}

// A message has the newest events, says how many more there were, and holds a bounded number of rules.
func TestMessageIsBounded(t *testing.T) {
	f := newFake()
	s := newEvents(f)
	g := gathering{filter: &tail.Filter{}, encoder: shortLines(t), names: s.pl.Names}
	var batch tail.Batch
	for i := range maxRows + 7 {
		var rec event.Record
		rec.Reset(event.PolicyDeny)
		rec.SetTime(int64(i) * 1e6)
		rec.SetAction(event.ActionDeny)
		batch.Records = append(batch.Records, rec)
	}
	batch.LeftOut = 5
	g.add(&batch)
	m := g.take()
	if len(m.Rows) != maxRows || m.More != 7 || m.LeftOut != 5 || m.Rows[0].Time != 7 || m.Rows[maxRows-1].Time != maxRows+6 {
		t.Errorf("%d rows from %d, %d more, %d left out", len(m.Rows), m.Rows[0].Time, m.More, m.LeftOut)
	}
	batch.Records = batch.Records[:0]
	for i := range uint32(maxRules + 9) {
		var rec event.Record
		rec.Reset(event.PolicyDeny)
		rec.SetAction(event.ActionDeny)
		rec.SetDeny(i, 0, 0)
		batch.Records = append(batch.Records, rec)
	}
	g.add(&batch)
	if m = g.take(); len(m.Denied) != maxRules+1 || m.Denied[maxRules] != (denial{Rule: "other rules", N: 9}) {
		t.Errorf("%d rules, the last %+v", len(m.Denied), m.Denied[len(m.Denied)-1])
	}
	if !g.empty() {
		t.Error("what was taken is still there")
	}
}

// One browser more than may look is told so, and finds a place when another one has gone.
func TestStreamsAreBounded(t *testing.T) {
	f := newFake()
	base := "http://" + serve(t, f, "")
	var open []*http.Response
	for i := range maxStreams {
		next, resp := follow(t, client(t), base+"/page/events")
		if m := next(); m.Busy {
			t.Fatalf("stream %d is one too many", i)
		}
		open = append(open, resp)
	}
	next, _ := follow(t, client(t), base+"/page/events")
	if m := next(); !m.Busy {
		t.Fatalf("%d streams are open, and one more is let in: %+v", maxStreams, m)
	}
	if n, _ := f.tail.Watchers(); n != maxStreams || n >= tail.MaxWatchers {
		t.Errorf("%d watchers", n)
	}
	for _, resp := range open {
		resp.Body.Close()
	}
	for {
		next, resp := follow(t, client(t), base+"/page/events")
		if m := next(); !m.Busy {
			resp.Body.Close()
			break
		}
	}
	for {
		if n, _ := f.tail.Watchers(); n == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
}

// A browser that takes nothing is cut off, and holds no watcher. The clock is that of the bubble: how long a busy machine lets the browser wait for
// its first message is no time in which it takes nothing.
func TestStalledBrowserIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		srv := httptest.NewUnstartedServer(http.HandlerFunc(newEvents(f).serve))
		pipes := make(chan net.Conn)
		srv.Listener.Close()
		srv.Listener = pipeListener{pipes, make(chan struct{}), new(sync.Once)}
		srv.Start()
		defer srv.Close()
		browser, server := net.Pipe() // holds nothing: what is not read is not written
		defer browser.Close()
		pipes <- server
		fmt.Fprint(browser, "GET /page/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
		in := bufio.NewReader(browser)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(line, "data: ") {
				break // it looks now
			}
		}
		for deadline := time.Now().Add(2 * stall); ; {
			if n, _ := f.tail.Watchers(); n == 0 {
				break
			}
			f.admitOne(1, 1)
			if time.Now().After(deadline) {
				t.Fatal("a browser that takes nothing still looks")
			}
			time.Sleep(beat)
		}
	})
}

// pipeListener accepts the connections that come.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   *sync.Once
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func shortLines(tb testing.TB) format.Encoder {
	tb.Helper()
	e, err := format.New(format.Options{Format: format.Text})
	if err != nil {
		tb.Fatal(err)
	}
	return e
}
