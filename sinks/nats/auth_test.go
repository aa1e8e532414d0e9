package nats_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/internal/testing/testcert"
)

// deliver runs a sink over ten records.
func deliver(t *testing.T, text string, args ...any) error {
	t.Helper()
	return sinkcheck.Deliver(t, newSink(t, text, args...), numbered(10)...)
}

func write(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestAuth logs in in every way, and fails in every way.
func TestAuth(t *testing.T) {
	seed, public := keyPair(t, nkeys.CreateUser)
	operator, credentials := operatorMode(t)
	ways := []struct {
		name      string
		server    func(*server.Options)
		right     string
		wrong     string
		wantError string
	}{
		{
			"user", func(o *server.Options) { o.Username, o.Password = "fw", "secret" },
			`user = "fw", password = "secret"`, `user = "fw", password = "guess"`, "authorization violation",
		},
		{
			"password file", func(o *server.Options) { o.Username, o.Password = "fw", "secret" },
			fmt.Sprintf(`user = "fw", password_file = %q`, write(t, "password", []byte("secret\n"))),
			`user = "fw", password_file = "/nonexistent/password"`, "/nonexistent/password",
		},
		{
			"token", func(o *server.Options) { o.Authorization = "t0ken" },
			fmt.Sprintf(`token_file = %q`, write(t, "token", []byte("t0ken\n"))), `token = "guess"`, "authorization violation",
		},
		{
			"nkey", func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} },
			fmt.Sprintf(`nkey = %q`, write(t, "seed.nk", seed)), `nkey = "/nonexistent/seed.nk"`, "/nonexistent/seed.nk",
		},
		{
			"credentials", operator, fmt.Sprintf(`credentials = %q`, write(t, "user.creds", credentials)),
			`credentials = "/nonexistent/user.creds"`, "/nonexistent/user.creds",
		},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			s := startServer(t, way.server)
			const text = "servers = [%q]\nauth = { %s }\nstream = { name = \"A\", create = true }"
			if err := deliver(t, text, s.ClientURL(), way.right); err != nil {
				t.Errorf("Run = %v", err)
			}
			if err := deliver(t, text, s.ClientURL(), way.wrong); err == nil || !strings.Contains(strings.ToLower(err.Error()), way.wantError) {
				t.Errorf("Run = %v, want %q", err, way.wantError)
			}
		})
	}
}

// TestLeastPermissions has a user who may do what README.md says is needed, and nothing else.
func TestLeastPermissions(t *testing.T) {
	s := startServer(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "fw", Password: "secret", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{
				Allow: []string{"pipelined.>", "$JS.API.STREAM.INFO.EVENTS", "$JS.API.STREAM.CREATE.EVENTS"},
			},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}}}
	})
	for range 2 { // the second one finds the stream that the first has created
		err := deliver(t, "servers = [%q]\nauth = { user = \"fw\", password = \"secret\" }\nstream = { name = \"EVENTS\", create = true }",
			s.ClientURL())
		if err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

// TestDomain finds the stream in the domain that it is in, and nowhere else.
func TestDomain(t *testing.T) {
	s := startServer(t, func(o *server.Options) { o.JetStreamDomain = "hub" })
	const text = "servers = [%q]\ndomain = %q\nstream = { name = \"EVENTS\", create = true }"
	if err := deliver(t, text, s.ClientURL(), "hub"); err != nil {
		t.Errorf("Run = %v", err)
	}
	if err := deliver(t, text, s.ClientURL(), "elsewhere"); err == nil || !strings.Contains(err.Error(), "stream EVENTS: ") {
		t.Errorf("Run = %v", err)
	}
}

// TestPermissions has a user who may look at the stream and not publish to it: Run says so at once.
func TestPermissions(t *testing.T) {
	s := startServer(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "fw", Password: "secret", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"pipelined.>"}},
		}}}
	})
	err := deliver(t, "servers = [%q]\nauth = { user = \"fw\", password = \"secret\" }\nstream = { name = \"P\", create = true }",
		s.ClientURL())
	if err == nil || !strings.Contains(err.Error(), "Permissions Violation for Publish to \"pipelined.session-open.trust\"") {
		t.Errorf("Run = %v", err)
	}
}

func keyPair(t *testing.T, create func() (nkeys.KeyPair, error)) (seed []byte, public string) {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	if seed, err = pair.Seed(); err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return seed, public
}

// operatorMode returns a server's options with an operator and one account, and the credentials of a user in it.
func operatorMode(t *testing.T) (change func(*server.Options), credentials []byte) {
	t.Helper()
	operatorSeed, _ := keyPair(t, nkeys.CreateOperator)
	accountSeed, account := keyPair(t, nkeys.CreateAccount)
	_, system := keyPair(t, nkeys.CreateAccount)
	userSeed, user := keyPair(t, nkeys.CreateUser)
	sign := func(seed []byte, claims jwt.Claims) string {
		pair, err := nkeys.FromSeed(seed)
		if err != nil {
			t.Fatal(err)
		}
		token, err := claims.Encode(pair)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	claims := jwt.NewAccountClaims(account)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{
		MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1,
	}
	resolver := &server.MemAccResolver{}
	for key, c := range map[string]*jwt.AccountClaims{account: claims, system: jwt.NewAccountClaims(system)} {
		if err := resolver.Store(key, sign(operatorSeed, c)); err != nil {
			t.Fatal(err)
		}
	}
	credentials, err := jwt.FormatUserConfig(sign(accountSeed, jwt.NewUserClaims(user)), userSeed)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *server.Options) {
		pair, err := nkeys.FromSeed(operatorSeed)
		if err != nil {
			t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		token := sign(operatorSeed, jwt.NewOperatorClaims(public))
		operator, err := jwt.DecodeOperatorClaims(token)
		if err != nil {
			t.Fatal(err)
		}
		o.TrustedOperators = []*jwt.OperatorClaims{operator}
		o.SystemAccount = system
		o.AccountResolver = resolver
	}, credentials
}

// TestTLS connects with certificates on both sides.
func TestTLS(t *testing.T) {
	ca := testcert.NewAuthority(t)
	cert, key := ca.Issue(t, "client")
	for _, first := range []bool{false, true} {
		s := startServer(t, func(o *server.Options) {
			o.TLS, o.TLSVerify, o.TLSHandshakeFirst, o.TLSTimeout = true, true, first, 10
			o.TLSConfig = ca.Server(t, "127.0.0.1")
			o.TLSConfig.ClientCAs, o.TLSConfig.ClientAuth = ca.Pool, tls.RequireAndVerifyClientCert
		})
		const text = "servers = [%q]\ntls_first = %t\ntls = { %s }\nstream = { name = \"T\", create = true }"
		url := "nats://" + s.Addr().String()
		right := fmt.Sprintf("ca = %q, cert = %q, key = %q", ca.File, cert, key)
		if err := deliver(t, text, url, first, right); err != nil {
			t.Errorf("first %t: Run = %v", first, err)
		}
		for wrong, want := range map[string]string{
			"":                              "certificate signed by unknown authority",
			fmt.Sprintf("ca = %q", ca.File): "tls", // the server hangs up, at a moment that differs
			right + `, server_name = "elsewhere.net"`:   "elsewhere.net",
			`ca = "/nonexistent/ca.pem"`:                "/nonexistent/ca.pem",
			fmt.Sprintf("ca = %q", key):                 "no certificate",
			fmt.Sprintf("cert = %q, key = %[1]q", cert): "tls.cert",
		} {
			if err := deliver(t, text, url, first, wrong); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("first %t, %s: Run = %v, want %q", first, wrong, err, want)
			}
		}
	}
}
