package kafka_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/internal/testing/testcert"
)

// deliver runs a sink over ten records.
func deliver(t *testing.T, c *kfake.Cluster, text string, args ...any) error {
	t.Helper()
	return sinkcheck.Deliver(t, newSink(t, c, text, args...), sessions(10)...)
}

// TestSASL logs in in every way, and fails in every way.
func TestSASL(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		c := startCluster(t, kfake.SeedTopics(1, "pipelined"), kfake.EnableSASL(),
			kfake.Superuser(strings.ToUpper(mechanism), "fw", "secret"))
		for _, password := range []string{`password = "secret"`, fmt.Sprintf("password_file = %q", file)} {
			if err := deliver(t, c, "sasl = { mechanism = %q, user = \"fw\", %s }", mechanism, password); err != nil {
				t.Errorf("%s, %s: Run = %v", mechanism, password, err)
			}
		}
		for text, want := range map[string]string{
			fmt.Sprintf("sasl = { mechanism = %q, user = \"fw\", password = \"guess\" }", mechanism):               "no broker of",
			fmt.Sprintf("sasl = { mechanism = %q, user = \"fw\", password_file = \"/nonexistent/p\" }", mechanism): "/nonexistent/p",
			"": "no broker of",
		} {
			err := deliver(t, c, "connect_timeout = \"2s\"\n%s", text)
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "guess") {
				t.Errorf("%s: Run = %v, want %q", text, err, want)
			}
		}
	}
}

// TestTLS connects with certificates on both sides.
func TestTLS(t *testing.T) {
	ca := testcert.NewAuthority(t)
	cert, key := ca.Issue(t, "client")
	config := ca.Server(t, "127.0.0.1")
	config.ClientCAs, config.ClientAuth = ca.Pool, tls.RequireAndVerifyClientCert
	c := startCluster(t, kfake.SeedTopics(1, "pipelined"), kfake.TLS(config))
	right := fmt.Sprintf("ca = %q, cert = %q, key = %q", ca.File, cert, key)
	if err := deliver(t, c, "tls = { %s }", right); err != nil {
		t.Errorf("Run = %v", err)
	}
	for wrong, want := range map[string]string{
		"tls = {}": "certificate signed by unknown authority",
		fmt.Sprintf("tls = { ca = %q }", ca.File):                "no broker of", // the broker hangs up, at a moment that differs
		"tls = { " + right + `, server_name = "elsewhere.net" }`: "elsewhere.net",
		`tls = { ca = "/nonexistent/ca.pem" }`:                   "/nonexistent/ca.pem",
		"":                                                       "no broker of",
	} {
		if err := deliver(t, c, "connect_timeout = \"2s\"\n%s", wrong); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Run = %v, want %q", wrong, err, want)
		}
	}
}
