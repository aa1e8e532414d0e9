package syslog

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/internal/testing/testcert"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// load makes the sink that the text configures, and returns the mistakes and warnings.
func load(t *testing.T, env sdk.Env, text string, path ...string) (sdk.Sink, string) {
	t.Helper()
	section, problems := config.ParseTable("test.toml", []byte(text), path...)
	sink := Plugin().Configure(section, env)
	var list []string
	for _, p := range problems.All() {
		list = append(list, p.String())
	}
	return sink, strings.Join(list, "\n")
}

// withFiles puts files that exist in the place of those that the pages name.
func withFiles(tb testing.TB, text string) string {
	tb.Helper()
	ca := testcert.NewAuthority(tb)
	cert, key := ca.Issue(tb, "fw1")
	return strings.NewReplacer("/etc/pipelined/ca.pem", ca.File, "/etc/pipelined/client.pem", cert, "/etc/pipelined/client.key", key).Replace(text)
}

// TestSample loads the sample as it is, and with everything that is commented out.
func TestSample(t *testing.T) {
	p := Plugin()
	if p.Name != "syslog" || p.Summary == "" {
		t.Errorf("plugin %q, %q", p.Name, p.Summary)
	}
	full := regexp.MustCompile(`(?m)^# ((\[sinks|[a-z_-]+ +=).*)$`).ReplaceAllString(p.Sample, "$1")
	if full == p.Sample {
		t.Error("nothing was commented out")
	}
	const one = `"tls://siem.example.net:6514"` // what is commented out is for several, or for RELP
	full = strings.Replace(full, one, "["+one+`, "relps://siem.example.net:2514"]`, 1)
	for _, text := range []string{p.Sample, full} {
		sink, problems := load(t, sdk.Env{Hostname: "fw1"}, withFiles(t, text), "sinks", "siem")
		if sink == nil || problems != "" {
			t.Errorf("the sample does not load: %s\n%s", problems, text)
		}
	}
}

// TestReadme loads every configuration in README.md.
func TestReadme(t *testing.T) {
	for _, s := range sinkcheck.Snippets(t, 3) {
		sinkcheck.WantLoads(t, Plugin(), withFiles(t, s))
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range new(Sink).Counters() {
		if !strings.Contains(string(text), "`"+c.Name+"`") {
			t.Errorf("README.md does not explain the counter %s", c.Name)
		}
	}
}

func TestMistakes(t *testing.T) {
	ca := testcert.NewAuthority(t)
	cert, key := ca.Issue(t, "fw1")
	_, otherKey := ca.Issue(t, "fw1")
	noPEM := filepath.Join(t.TempDir(), "no.pem")
	if err := os.WriteFile(noPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	const one = "address = \"tls://siem.example.net\"\n"
	for _, c := range []struct {
		text string
		want []string // in the messages, nil for none
	}{
		{one, nil},
		{`address = "udp://192.0.2.1"`, nil},
		{`address = ["tcp://[2001:db8::1]:601", "relps://siem:2514", "unixgram:///dev/log"]`, nil},
		{one + "framing = \"newline\"\nkeepalive = \"0s\"", nil},
		{`address = ["tls://a", "relp://b:1"]` + "\nstrategy = \"all\"\nframing = \"newline\"\nwindow = 1\nreturn_after = \"10s\"", nil},
		{one + `window = 1000`, []string{"warning: window", "no address is relp://"}},
		{one + `strategy = "all"`, []string{"warning: strategy", "one address"}},
		{one + `return_after = "1m"`, []string{"warning: return_after", "one address"}},
		{"address = \"relp://a:1\"\nframing = \"newline\"", []string{"warning: framing", "no address is tcp://"}},
		{"address = \"udp://a\"\nframing = \"newline\"\nkeepalive = \"30s\"\nuser_timeout = \"40s\"", []string{
			"warning: framing", "warning: keepalive", "warning: user_timeout"}},
		{one + "format = \"json\"\nprofile = \"junos-22-24\"\nstructured_filter = true", []string{"warning: profile", "warning: structured_filter"}},
		{one + "format = \"rfc3164\"\nsd_id = \"x@1\"", []string{"warning: sd_id", "no structured data"}},
		{one + `tls = { ca = "/nonexistent/ca.pem", cert = "/nonexistent/c.pem", key = "/nonexistent/k.pem" }`, []string{"warning", "tls.ca", "no such file"}},
		{one + "keepalive = \"10s\"\nuser_timeout = \"5s\"", []string{"warning", "keepalive", "below user_timeout"}},
		{one + fmt.Sprintf("tls = { ca = %q, cert = %q, key = %q, min_version = \"1.3\", server_name = \"x\" }", ca.File, cert, key), nil},
		{"", []string{"address is missing"}},
		{`address = []`, []string{"address is missing"}},
		{`address = "siem.example.net:514"`, []string{"test.toml:1:1: address:", "no scheme", `"tls://siem.example.net:514"`}},
		{`address = "tcp://siem.example.net"`, []string{"name the port"}},
		{`address = "relp://siem.example.net"`, []string{"name the port"}},
		{`address = "tcpp://siem.example.net:1"`, []string{`unknown scheme "tcpp"`, "relps"}},
		{`address = "tcp://:514"`, []string{"names no host"}},
		{`address = "tls://::1"`, []string{"in brackets"}},
		{`address = "tls://[fe80::1%25eth0]"`, nil},
		{`address = "tls://[fe80::1]"`, []string{"link-local", "fe80::1%eth0"}},
		{`address = "udp://[ff02::1]"`, []string{"link-local", "ff02::1%eth0"}},
		{`address = "udp://[ff05::1]"`, nil},
		{`address = "tls://a b"`, []string{"a b"}},
		{`address = "tcp://h:70000"`, []string{"65535"}},
		{`address = "tcp://h:x"`, []string{"URL"}},
		{`address = "tcp://h:1/path"`, []string{"nothing but"}},
		{`address = "tcp://u@h:1"`, []string{"nothing but"}},
		{`address = "unixgram://dev/log"`, []string{"unixgram:///dev/log"}},
		{`address = "unixgram:///` + strings.Repeat("a", 110) + `"`, []string{"107"}},
		{`address = ["tls://a", "tls://a:6514"]`, []string{"test.toml:1:23: address[1]:", "listed twice"}},
		{`address = ["tls://a", "b"]`, []string{"address[1]", "no scheme"}},
		{"address = [" + strings.Repeat(`"tls://a",`, 17) + "]", []string{"at most 16"}},
		{one + `addresses = "x"`, []string{"addresses: unknown key", `"address"`}},
		{one + `strategy = "random"`, []string{"failover", "random"}},
		{one + `framing = "lines"`, []string{"octet-counting", "lines"}},
		{one + `format = "frames"`, []string{"frames", "rfc3164"}},
		{one + `format = "cef"`, []string{"cef"}},
		{one + `profile = "junos-99"`, []string{"junos-99"}},
		{one + `platform = 0`, []string{"SD-ID"}},
		{one + `sd_id = "a b"`, []string{"sd_id", "SD-ID"}},
		{one + "format = \"rfc3164\"\nsequence = true", []string{"sequence", "no structured data"}},
		{one + `priority = { policy-deny = "local9.info" }`, []string{"local9"}},
		{one + `priority = { policy-denied = "user.info" }`, []string{"policy-denied", `"policy-deny"`}},
		{one + `window = 0`, []string{"65536"}},
		{one + `connect_timeout = "1ms"`, []string{"connect_timeout", "100ms"}},
		{one + `write_timeout = "1h"`, []string{"write_timeout"}},
		{one + `close_timeout = "0s"`, []string{"close_timeout"}},
		{one + `user_timeout = "0s"`, []string{"user_timeout"}},
		{one + `max_refusals = -1`, []string{"max_refusals", "0 to give up no record"}},
		{"address = \"udp://a\"\nmax_refusals = 5", []string{"warning: max_refusals"}},
		{one + `return_after = "0s"`, []string{"return_after"}},
		{one + `keepalive = "1s"`, []string{"keepalive", "3s"}},
		{one + `tls = { cert = "/c.pem" }`, []string{"go together"}},
		{one + `tls = { min_version = "1.1" }`, []string{"1.1"}},
		{one + `tls = { insecure = true }`, []string{"insecure"}},
		{one + fmt.Sprintf("tls = { ca = %q }", noPEM), []string{"tls.ca", "no certificate"}},
		{one + fmt.Sprintf("tls = { cert = %q, key = %q }", cert, otherKey), []string{"tls.cert", "no pair"}},
		{"address = \"tcp://a:1\"\ntls = { server_name = \"x\" }", []string{"warning", "does nothing"}},
		{"address = \"x\"\nwindow = 0\nplatform = 0", []string{"no scheme", "65536", "SD-ID"}},
		{"address = [\"tls://a\", 5]\nwindow = 0\nprofile = 1", []string{
			"test.toml:1:23: address[1]: must be a string, not 5\ntest.toml:2:1: window: want", "profile: must be a string"}},
	} {
		sink, problems := load(t, sdk.Env{Hostname: "fw1"}, c.text)
		warning := strings.Contains(problems, "warning")
		if (problems == "") != (c.want == nil) || (sink == nil) != (c.want != nil && !warning) {
			t.Errorf("%s: sink %v, mistakes %q", c.text, sink, problems)
		}
		if i := slices.IndexFunc(c.want, func(w string) bool { return !strings.Contains(problems, w) }); i >= 0 {
			t.Errorf("%s: %q does not mention %s", c.text, problems, c.want[i])
		}
	}
	if _, problems := load(t, sdk.Env{Hostname: "fw 1"}, one); !strings.Contains(problems, "hostname") {
		t.Errorf("a bad hostname: %q", problems)
	}
}

// FuzzAddress checks that any text is an address or a mistake, and that an address comes back from its own text.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"udp://h", "tls://[::1]:1", "unixgram:///dev/log", "tcp://a:514", "://", "tcp://%zz:1", "tls://h:0", "tls://::1", "tls://[fe80::1%25a]", "udp://[fe80::1%eth0]:514", "udp://[fe80::1%25]:514"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAddress(text)
		if err != nil {
			return
		}
		if back, err := parseAddress(a.String()); err != nil || back != a {
			t.Fatalf("%q is %+v, which reads as %+v, %v", text, a, back, err)
		}
	})
}

// TestAllocations pins that what a run allocates does not depend on how many records it sends.
func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	sink := newTestSink(t, "", "tcp://"+listenFunc(t, silent))
	run := func(n int) float64 {
		records := numbered(1000)
		return testing.AllocsPerRun(3, func() {
			s := sinktest.NewStream(tellTB{t})
			s.SetBatch(1000)
			s.Append(records...)
			s.Repeat(n)
			s.Drain()
			if err := s.Run(t.Context(), sink); err != nil {
				t.Fatal(err)
			}
		})
	}
	// The fake stream allocates for every acknowledgement: there are some for each batch of a thousand.
	few, many := run(10_000), run(110_000)
	if perRecord := (many - few) / 100_000; perRecord > 0.05 {
		t.Errorf("%v allocations for 10000 records, %v for 110000: %v for each", few, many, perRecord)
	}
}

// tellTB keeps a stream from asking for a cleanup in every run.
type tellTB struct{ testing.TB }

func (tellTB) Cleanup(func()) {}

// TestInterfaceOfAddressIsMissing names what keeps a link-local address from being reached; the kernel only says that it is invalid.
func TestInterfaceOfAddressIsMissing(t *testing.T) {
	for zone, want := range map[string]string{"nosuch0": "there is no interface nosuch0: invalid argument", "lo": "invalid argument", "": "invalid argument"} {
		to := &net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 6514, Zone: zone}
		err := explainDial(t.Context(), &net.OpError{Op: "dial", Net: "tcp", Addr: to, Err: syscall.EINVAL}, time.Second)
		if !errors.Is(err, syscall.EINVAL) || err.Error() != want {
			t.Errorf("%q: %v", zone, err)
		}
	}
}
