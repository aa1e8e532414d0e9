package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rtflow/pipelined/core/metrics"
)

const (
	// remembered is how long a login lasts. It ends with the daemon as well.
	remembered = 12 * time.Hour
	// maxForm is the longest login form, in bytes.
	maxForm = 16 << 10
)

// policy is what a browser may do with what it gets here: load and run what comes from here, ask here, and nothing else. Scripts cannot make
// markup of text (trusted types).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// headers sets what every answer says to browsers.
func headers(h http.Header) {
	for name, value := range map[string]string{
		"Content-Security-Policy":      policy,
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Permissions-Policy":           "camera=(), geolocation=(), microphone=()",
		"Referrer-Policy":              "no-referrer",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
	} {
		h.Set(name, value)
	}
}

// access says who may see the page.
type access struct {
	token string   // "" lets everybody in who reaches the listener
	key   [32]byte // signs cookies; of this process
}

func newAccess(token string) *access {
	a := &access{token: token}
	_, _ = rand.Read(a.key[:]) // never fails
	return a
}

// allowed reports whether a request brings the token, or a cookie that a login has got for it.
func (a *access) allowed(r *http.Request) bool {
	if a.token == "" || metrics.HasToken(r, a.token) {
		return true
	}
	c, err := r.Cookie(cookieName(r))
	if err != nil {
		return false
	}
	until, _, _ := strings.Cut(c.Value, ".")
	seconds, err := strconv.ParseInt(until, 10, 64)
	return err == nil && hmac.Equal([]byte(c.Value), []byte(a.sign(seconds))) && time.Now().Unix() < seconds
}

// sign returns the value of a cookie that is good until then, Unix time in seconds.
func (a *access) sign(until int64) string {
	mac := hmac.New(sha256.New, a.key[:])
	fmt.Fprintf(mac, "page %d", until)
	return fmt.Sprintf("%d.%s", until, base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
}

// cookieName returns the name of the cookie. Browsers send the cookies of a host to each of its ports, so that two daemons need two names.
func cookieName(r *http.Request) string {
	const name = "pipelined_page"
	if address, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if _, port, err := net.SplitHostPort(address.String()); err == nil {
			return name + "_" + port
		}
	}
	return name
}

// remember lets the browser in until the login is too old, or forgets it.
func (a *access) remember(w http.ResponseWriter, r *http.Request, in bool) {
	c := &http.Cookie{
		Name: cookieName(r), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https", // what a proxy in front of the listener says
		MaxAge: -1,
	}
	if in {
		c.Value, c.MaxAge = a.sign(time.Now().Add(remembered).Unix()), int(remembered/time.Second)
	}
	http.SetCookie(w, c)
}

// foreign reports whether another site's page has made a browser ask for something, as far as the browser tells. A link that leads to the
// page is none of that.
func foreign(r *http.Request) bool {
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return http.NewCrossOriginProtection().Check(r) != nil
	case site == "" || site == "same-origin" || site == "none":
		return false
	default:
		return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.URL.Path != "/" && r.URL.Path != "/login"
	}
}
