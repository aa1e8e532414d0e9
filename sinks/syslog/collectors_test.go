package syslog

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/internal/logverify"
	"github.com/rtflow/pipelined/internal/rfc5424"
	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/collectors"
	"github.com/rtflow/pipelined/internal/testing/ports"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/internal/testing/testcert"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// parsed is a message as a collector has understood it.
type parsed struct {
	PRI                      string
	Time, Host, App, ID, Msg string
	SD                       map[string]map[string]string
}

// understood returns what a strict parser makes of a message: what the collectors must see, too.
func understood(tb testing.TB, msg string) parsed {
	tb.Helper()
	s, err := rfc5424.NewParser().Parse([]byte(msg))
	if err != nil {
		tb.Fatalf("%v in %s", err, msg)
	}
	text := func(p *string) string {
		if p == nil {
			return "-"
		}
		return *p
	}
	p := parsed{PRI: fmt.Sprint(*s.Priority), Host: text(s.Hostname), App: text(s.Appname), ID: text(s.MsgID), SD: map[string]map[string]string{}}
	if s.Timestamp != nil {
		p.Time = s.Timestamp.UTC().Format("2006-01-02T15:04:05.000")
	}
	if s.Message != nil {
		p.Msg = *s.Message
	}
	if s.StructuredData != nil {
		p.SD = *s.StructuredData
	}
	return p
}

// inRsyslog is the part of rsyslog's configuration that writes what it has parsed. The main queue is Direct: what rsyslog
// has answered for is in the file, and a kill of the process loses nothing that it has read.
const inRsyslog = `
global(workDirectory="DIR" net.enableDNS="off")
main_queue(queue.type="Direct")
module(load="mmpstrucdata")
template(name="parsed" type="string" string="{\"pri\":\"%pri%\",\"time\":\"%timereported:::date-rfc3339%\",\"host\":\"%hostname:::json%\",\"app\":\"%app-name:::json%\",\"id\":\"%msgid:::json%\",\"msg\":\"%msg:::json%\",\"vars\":%$!%}\n")
action(type="mmpstrucdata" sd_name.lowercase="off")
action(type="omfile" file="DIR/out" template="parsed")
`

func fromRsyslog(tb testing.TB, line string) parsed {
	tb.Helper()
	if head, ok := strings.CutSuffix(line, `"vars":}`); ok {
		line = head + `"vars":{}}`
	}
	var v struct {
		PRI, Time, Host, App, ID, Msg string
		Vars                          struct {
			SD map[string]map[string]string `json:"rfc5424-sd"`
		}
	}
	if err := json.Unmarshal([]byte(line), &v); err != nil {
		tb.Fatalf("%v in %s", err, line)
	}
	if v.Vars.SD == nil {
		v.Vars.SD = map[string]map[string]string{}
	}
	return parsed{PRI: v.PRI, Time: utc(tb, v.Time), Host: v.Host, App: v.App, ID: v.ID, Msg: v.Msg, SD: v.Vars.SD}
}

// inSyslogNG is the same for syslog-ng.
const inSyslogNG = `
options { keep-hostname(yes); use-dns(no); dns-cache(no); stats-freq(0); frac-digits(3); };
destination d { file("DIR/out" template("$(format-flat-json --leave-initial-dot pri=$PRI time=$S_ISODATE host=$HOST app=$PROGRAM id=$MSGID msg=$MSG --key .SDATA.*)\n")); };
log { source(s); destination(d); flags(flow-control); };
`

func fromSyslogNG(tb testing.TB, line string) parsed {
	tb.Helper()
	flat := map[string]string{}
	if err := json.Unmarshal([]byte(line), &flat); err != nil {
		tb.Fatalf("%v in %s", err, line)
	}
	or := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	p := parsed{
		PRI: flat["pri"], Time: utc(tb, flat["time"]), Host: flat["host"], App: or(flat["app"]), ID: or(flat["id"]), Msg: flat["msg"],
		SD: map[string]map[string]string{},
	}
	for key, value := range flat {
		if path, ok := strings.CutPrefix(key, ".SDATA."); ok {
			at := strings.LastIndexByte(path, '.')
			id, name := path[:at], path[at+1:]
			if p.SD[id] == nil {
				p.SD[id] = map[string]string{}
			}
			p.SD[id][name] = value
		}
	}
	return p
}

func utc(tb testing.TB, text string) string {
	tb.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		tb.Fatal(err)
	}
	return at.UTC().Format("2006-01-02T15:04:05.000")
}

// realCollector is a collector, how it is started and reached, and how its file is read.
type realCollector struct {
	*collectors.Daemon
	port    string
	listens []string
	address string
	more    string // of the sink's configuration
	read    func(testing.TB, string) parsed
}

func (c *realCollector) start() { c.Start(c.listens...) }

// realCollectors lists every way into a real collector.
var realCollectors = []struct {
	name string
	make func(tb testing.TB) *realCollector
}{
	{"rsyslog imudp", func(tb testing.TB) *realCollector {
		return rsyslogWith(tb, "udp", `module(load="imudp") input(type="imudp" port="PORT" address="127.0.0.1" rcvbufSize="4m")`, "")
	}},
	{"rsyslog imptcp", func(tb testing.TB) *realCollector {
		return rsyslogWith(tb, "tcp", `module(load="imptcp") input(type="imptcp" port="PORT" address="127.0.0.1")`, "")
	}},
	{"rsyslog imptcp newline", func(tb testing.TB) *realCollector {
		return rsyslogWith(tb, "tcp", `module(load="imptcp") input(type="imptcp" port="PORT" address="127.0.0.1")`, `framing = "newline"`)
	}},
	{"rsyslog imtcp TLS", rsyslogTLS},
	{"rsyslog imrelp", rsyslogRELP},
	{"rsyslog imrelp TLS", func(tb testing.TB) *realCollector {
		ca := testcert.NewAuthority(tb)
		cert, key := ca.Issue(tb, "127.0.0.1")
		config := fmt.Sprintf(`module(load="imrelp" tls.tlslib="gnutls") input(type="imrelp" port="PORT" address="127.0.0.1" tls="on" tls.cacert=%q tls.mycert=%q tls.myprivkey=%q tls.authmode="certvalid" maxdatasize="16k")`,
			ca.File, cert, key)
		return rsyslogWith(tb, "relps", config, mutual(tb, ca))
	}},
	{"rsyslog imuxsock", func(tb testing.TB) *realCollector {
		c := rsyslogWith(tb, "unixgram", `module(load="imuxsock" SysSock.Use="off") input(type="imuxsock" Socket="DIR/log" UseSpecialParser="off" ParseHostname="on" IgnoreTimestamp="off")`, "")
		c.address, c.listens = "unixgram://"+c.Path("log"), []string{c.Path("log")}
		return c
	}},
	{"syslog-ng syslog tcp", func(tb testing.TB) *realCollector {
		return syslogNGWith(tb, "tcp", `syslog(ip("127.0.0.1") port(PORT) transport("tcp"))`, "")
	}},
	{"syslog-ng network tcp newline", func(tb testing.TB) *realCollector {
		return syslogNGWith(tb, "tcp", `network(ip("127.0.0.1") port(PORT) transport("tcp") flags(syslog-protocol))`, `framing = "newline"`)
	}},
	{"syslog-ng syslog udp", func(tb testing.TB) *realCollector {
		return syslogNGWith(tb, "udp", `syslog(ip("127.0.0.1") port(PORT) transport("udp") so-rcvbuf(4194304))`, "")
	}},
	{"syslog-ng syslog tls", func(tb testing.TB) *realCollector {
		ca := testcert.NewAuthority(tb)
		cert, key := ca.Issue(tb, "127.0.0.1")
		source := fmt.Sprintf(`syslog(ip("127.0.0.1") port(PORT) transport("tls") tls(cert-file(%q) key-file(%q) ca-file(%q) peer-verify(required-trusted)))`,
			cert, key, ca.File)
		return syslogNGWith(tb, "tls", source, mutual(tb, ca))
	}},
}

// mutual returns the table tls of a sink that knows the authority and has a certificate of it.
func mutual(tb testing.TB, ca *testcert.Authority) string {
	cert, key := ca.Issue(tb, "fw1")
	return fmt.Sprintf("tls = { ca = %q, cert = %q, key = %q }", ca.File, cert, key)
}

func rsyslogTLS(tb testing.TB) *realCollector {
	ca := testcert.NewAuthority(tb)
	cert, key := ca.Issue(tb, "127.0.0.1")
	config := fmt.Sprintf(`global(DefaultNetstreamDriver="gtls" DefaultNetstreamDriverCAFile=%q DefaultNetstreamDriverCertFile=%q DefaultNetstreamDriverKeyFile=%q)
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
input(type="imtcp" port="PORT" address="127.0.0.1")`, ca.File, cert, key)
	return rsyslogWith(tb, "tls", config, mutual(tb, ca))
}

// rsyslogAnonymousTLS does not ask for our certificate.
func rsyslogAnonymousTLS(tb testing.TB) *realCollector {
	ca := testcert.NewAuthority(tb)
	cert, key := ca.Issue(tb, "127.0.0.1")
	config := fmt.Sprintf(`global(DefaultNetstreamDriver="ossl" DefaultNetstreamDriverCAFile=%q DefaultNetstreamDriverCertFile=%q DefaultNetstreamDriverKeyFile=%q)
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
input(type="imtcp" port="PORT" address="127.0.0.1")`, ca.File, cert, key)
	return rsyslogWith(tb, "tls", config, fmt.Sprintf("tls = { ca = %q }", ca.File))
}

func rsyslogRELP(tb testing.TB) *realCollector {
	return rsyslogWith(tb, "relp", `module(load="imrelp") input(type="imrelp" port="PORT" address="127.0.0.1" maxdatasize="16k")`, "")
}

func rsyslogWith(tb testing.TB, scheme, input, more string) *realCollector {
	tb.Helper()
	port := ports.Reserve(tb)
	d := collectors.Rsyslog(tb, strings.ReplaceAll(input, "PORT", port)+inRsyslog)
	return reach(&realCollector{Daemon: d, port: port, more: more, read: fromRsyslog}, scheme)
}

func syslogNGWith(tb testing.TB, scheme, source, more string) *realCollector {
	tb.Helper()
	port := ports.Reserve(tb)
	d := collectors.SyslogNG(tb, "@version: 3.38\nsource s { "+strings.ReplaceAll(source, "PORT", port)+"; };\n"+inSyslogNG)
	return reach(&realCollector{Daemon: d, port: port, more: more, read: fromSyslogNG}, scheme)
}

func reach(c *realCollector, scheme string) *realCollector {
	c.address = scheme + "://127.0.0.1:" + c.port
	network := "tcp"
	if scheme == "udp" {
		network = "udp"
	}
	c.listens = []string{network + ":" + c.port}
	return c
}

// awkwardNames are names in which every rule about characters has something to do.
func awkwardNames() *event.Names {
	n := sinktest.Names()
	n.Policies = []string{"", `web "out" ]x[ a\b`, "überall-世界"}
	n.Zones = map[uint16]string{1: "trust\n<14>1 - - - - - -", 2: "un\xfftrust"}
	return n
}

// TestRealCollectors sends every kind of record to every collector and compares what they have parsed with what was admitted:
// nothing missing, nothing altered, in order.
func TestRealCollectors(t *testing.T) {
	collectors.Require(t)
	n := 3000
	if race.Enabled {
		n = 500
	}
	records := sinktest.Records(7, n)
	for _, c := range realCollectors {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c := c.make(t)
			c.start()
			o := format.Options{Hostname: "fw1", Sequence: true, Epoch: sinktest.Epoch}
			enc, err := format.New(o)
			if err != nil {
				t.Fatal(err)
			}
			s := sinktest.NewStream(t)
			s.SetNames(awkwardNames())
			sink := newTestSink(t, c.more+"\nsequence = true", c.address)
			if strings.HasPrefix(c.address, "udp:") {
				drip(t, s, sink, records, func() int { return len(c.Lines("out")) })
			} else {
				s.Append(records...)
				s.Drain()
				if err := s.Run(t.Context(), sink); err != nil {
					t.Fatal(err)
				}
			}
			await.Until(t, "the collector's file", func() bool { return len(c.Lines("out")) >= len(records) })
			lines := c.Lines("out")
			if len(lines) != len(records) {
				t.Fatalf("%d messages, want %d", len(lines), len(records))
			}
			for i, r := range records { // which other collectors are sent, too: each r is a copy
				r.SetSeq(event.Seq(i + 1))
				msg := string(enc.Append(nil, &r, awkwardNames()))
				if diff := cmp.Diff(understood(t, msg), c.read(t, lines[i])); diff != "" {
					t.Fatalf("message %d (-sent +understood):\n%s\n%s", i, diff, msg)
				}
			}
		})
	}
}

// TestVerified sends every kind of record to a peer that reads strictly and keeps account of the sequence numbers.
func TestVerified(t *testing.T) {
	records := sinktest.Records(9, 3000)
	for more, o := range map[string]logverify.Options{
		"": {Profile: logverify.Junos20, SDID: "junos@2636.1.1.1.2.129"},
		"profile = \"junos-22-24\"\nplatform = 133\nsequence = true": {Profile: logverify.Junos22, SDID: "junos@2636.1.1.1.2.133"},
		"format = \"json\"": {},
		"structured_filter = true\nframing = \"newline\"": {},
	} {
		read := make(chan string, 1)
		address := "tcp://" + listenFunc(t, func(c net.Conn) {
			var problems strings.Builder
			res, err := logverify.All(c, o, func(line int, p logverify.Problem) { fmt.Fprintf(&problems, "%d:%v\n", line, p) })
			if err != nil {
				problems.WriteString(err.Error())
			}
			if err := res.WriteText(&problems); err != nil {
				t.Error(err)
			}
			read <- problems.String()
		})
		s := sinktest.NewStream(t)
		s.SetNames(awkwardNames())
		s.Append(records...)
		s.Drain()
		if err := s.Run(t.Context(), newTestSink(t, more, address)); err != nil {
			t.Fatal(err)
		}
		if got := <-read; !strings.HasSuffix(got, "3000 messages, 0 deviate\n") ||
			strings.Contains(more, "sequence") && !strings.Contains(got, "epoch 1: sequence 1 to 3000, 0 missing, 0 repeated\n") {
			t.Errorf("%q:\n%s", more, got)
		}
	}
}

// TestRealPlain sends the plain form, and JSON as text, and looks at what becomes of header and text.
func TestRealPlain(t *testing.T) {
	collectors.Require(t)
	records := sinktest.Records(8, 500)
	c := rsyslogWith(t, "tcp", `module(load="imptcp") input(type="imptcp" port="PORT" address="127.0.0.1")
template(name="plain" type="string" string="<%pri%>%timereported:::date-rfc3164% %hostname% %syslogtag%%msg%\n")
action(type="omfile" file="DIR/plain" template="plain")`, `format = "rfc3164"`)
	c.start()
	drained(t, newTestSink(t, c.more, c.address), records...)
	await.Until(t, "the collector's file", func() bool { return len(c.Lines("plain")) >= len(records) })
	sameMessages(t, c.Lines("plain"), want(t, format.Options{Format: format.RFC3164}, 1, records...))
	if err := os.Truncate(c.Path("out"), 0); err != nil {
		t.Fatal(err)
	}
	drained(t, newTestSink(t, `format = "json"`, c.address), records...)
	await.Until(t, "the collector's file", func() bool { return len(c.Lines("out")) >= len(records) })
	objects := want(t, format.Options{Format: format.JSON}, 1, records...)
	for i, line := range c.Lines("out") {
		if got := c.read(t, line).Msg; got != objects[i] {
			t.Fatalf("text %d is\n%s, want\n%s", i, got, objects[i])
		}
	}
}
