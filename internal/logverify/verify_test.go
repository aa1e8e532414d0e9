package logverify

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/syslogframe"
)

// golden returns the lines of a golden file of the encoder.
func golden(tb testing.TB, name string) (lines []string) {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "sdk", "format", "testdata", "golden", name))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

// TestGolden checks what the encoder is known to print.
func TestGolden(t *testing.T) {
	for name, o := range map[string]Options{
		"rfc5424-junos-19.txt":             {Profile: Junos19},
		"rfc5424-junos-20-21.txt":          {Profile: Junos20},
		"rfc5424-junos-22-24.txt":          {Profile: Junos22, SDID: "junos@2636.1.1.1.2.143"},
		"rfc5424-junos-25.4.txt":           {Profile: Junos25},
		"rfc5424-junos-20-21-sequence.txt": {},
		"rfc5424-junos-25.4-text.txt":      {},
		"json-in-rfc5424.txt":              {},
	} {
		lines := golden(t, name)
		c := NewChecker(o)
		for _, line := range lines {
			for _, p := range c.Check([]byte(line)) {
				t.Errorf("%s: %v in\n%s", name, p, line)
			}
		}
		if len(lines) < 50 {
			t.Errorf("%s: only %d lines", name, len(lines))
		}
	}
}

// TestReleases checks that the lines of one release are those of no other, and that all are of some release.
func TestReleases(t *testing.T) {
	for _, printed := range Profiles() {
		for _, line := range golden(t, "rfc5424-"+printed+".txt") {
			if problems := NewChecker(Options{}).Check([]byte(line)); len(problems) > 0 {
				t.Errorf("%s: %v in\n%s", printed, problems, line)
			}
			if !strings.Contains(line, " RT_FLOW_SESSION_") {
				continue
			}
			for _, wanted := range Profiles() {
				if problems := NewChecker(Options{Profile: wanted}).Check([]byte(line)); (len(problems) == 0) != (wanted == printed) {
					t.Errorf("%s as %s: %v in\n%s", printed, wanted, problems, line)
				}
			}
		}
	}
}

// TestParameterCounts holds the tables against the numbers of parameters that lines of devices and templates have.
func TestParameterCounts(t *testing.T) {
	for tag, counts := range map[string][]int{
		"RT_FLOW_SESSION_CREATE": {30, 32, 36, 43},
		"RT_FLOW_SESSION_CLOSE":  {36, 45, 50, 61},
		"RT_FLOW_SESSION_DENY":   {23, 25, 27, 40},
	} {
		for i, profile := range Profiles() {
			if got := len(orders[tag][profile]); got != counts[i] {
				t.Errorf("%s, %s: %d parameters, want %d", tag, profile, got, counts[i])
			}
		}
	}
}

const deny = `<14>1 2026-03-01T10:15:21.003Z fw1 RT_FLOW - RT_FLOW_SESSION_DENY [junos@2636.1.1.1.2.129 source-address="203.0.113.5" source-port="40000" destination-address="10.0.1.30" destination-port="23" connection-tag="0" service-name="junos-telnet" protocol-id="6" icmp-type="0" policy-name="deny-telnet" source-zone-name="untrust" destination-zone-name="trust" application="UNKNOWN" nested-application="UNKNOWN" username="N/A" roles="N/A" packet-incoming-interface="ge-0/0/0.0" encrypted="No" reason="Denied by policy" session-id-32="9002" application-category="N/A" application-sub-category="N/A" application-risk="1" application-characteristics="N/A" src-vrf-grp="N/A" dst-vrf-grp="N/A"]`

const filter = `<158>1 2026-03-01T10:15:23.000Z fw1 - - - - fpc0 PFE_FW_SYSLOG_IP: FW: ge-0/0/0.0 D tcp 203.0.113.9 10.0.1.22 51000 22 (1 packets)`

const loss = `<12>1 2026-03-01T10:15:24.500Z fw1 pipelined - LOSS - events lost: reason=rate_limited zone=untrust since=2026-03-01T10:15:23.500Z policy-deny=42`

const screen = `<11>1 2026-03-01T10:15:22.000Z fw1 RT_IDS - RT_SCREEN_TCP [junos@2636.1.1.1.2.129 attack-name="SYN flood!" source-address="203.0.113.9" source-port="1" destination-address="10.0.1.1" destination-port="80" source-zone-name="untrust" interface-name="ge-0/0/0.0" action="drop"]`

// TestProblems changes one thing in a good message at a time; the problem must be reported at the place of the change.
func TestProblems(t *testing.T) {
	checkChanges(t, Options{Profile: Junos20}, []change{
		{deny, "", "", "", ""},
		{filter, "", "", "", ""},
		{loss, "", "", "", ""},
		{deny, "<14>1", "<14>", "not RFC 5424", " 2026"},
		{deny, "<14>", "<200>", "priority value", "0>1"},
		{deny, "<14>1 2026", "Mar  1 10:15:21", "not RFC 5424", "Mar"},
		{deny, ".003Z", "Z", "without milliseconds", "2026"},
		{deny, "fw1 RT_FLOW - ", "fw1 RT_FLOW 12 ", "PROCID is 12", "12 RT"},
		{deny, "fw1 RT_FLOW", "fw1 RT_IDS", "APP-NAME is RT_IDS and not RT_FLOW", "RT_IDS"},
		{deny, "SESSION_DENY", "SESSION_DENIED", "unknown message RT_FLOW_SESSION_DENIED", "RT_FLOW_SESSION_DENIED"},
		{deny, "junos@2636.1.1.1.2.129", "junos@2636", "is not junos@2636.1.1.1.2.N", "junos@2636"},
		{deny, `source-port="40000"`, `source-port="70000"`, "no integer of 16 bits", `70000"`},
		{deny, `source-port="40000"`, `source-port="040"`, "no integer of 16 bits", `040"`},
		{deny, `"203.0.113.5"`, `"203.0.113"`, "is no address", `203.0.113"`},
		{deny, `"Denied by policy"`, `"denied"`, "is none of", `denied"`},
		{deny, `encrypted="No"`, `encrypted=""`, "is none of", `" reason`},
		{deny, `policy-name="deny-telnet"`, `policy-name=""`, "is empty", `" source-zone`},
		{deny, `source-zone-name="untrust" destination-zone-name="trust"`, `destination-zone-name="trust" source-zone-name="untrust"`,
			"destination-zone-name where source-zone-name belongs", "destination-zone"},
		{deny, ` roles="N/A"`, "", "parameter packet-incoming-interface where roles belongs", "packet-incoming"},
		{deny, ` dst-vrf-grp="N/A"]`, "]", "24 parameters, want 25", "]"},
		{deny, ` dst-vrf-grp="N/A"]`, ` dst-vrf-grp="N/A" more="1"]`, "more is one too many", "more="},
		{deny, ` dst-vrf-grp="N/A"]`, ` src-vrf-grp="N/A"]`, "stands there twice", `src-vrf-grp="N/A"]`},
		{deny, `"N/A"]`, `"N/A"] session denied`, "text behind the structured data", "session denied"},
		{deny, "<14>", "<11>", "PRI is 11 and not 14", "11>"},
		{filter, "<158>", "<14>", "PRI is 14 and not 158", "14>"},
		{loss, "<12>", "<14>", "PRI is 14 and not 12", "14>"},
		{deny, `"N/A"]`, `"N/A"] `, "a blank behind", " "},
		{deny, deny[strings.Index(deny, "["):], `- {"event":1}`, "event is no object", "{"},
		{screen, "", "", "", ""},
		{screen, "SYN flood!", "Syn flood!", "no attack that a screen reports", "Syn"},
		{screen, "SYN flood!", "UDP flood!", "belongs to RT_SCREEN_UDP", "UDP"},
		{deny, `"N/A"]`, `"N/A"][x@1 y="z"]`, "want one element", "[junos"},
		{deny, `="deny-telnet"`, `="deny\telnet"`, "to be escaped", `telnet`},
		{deny, `="deny-telnet"`, `="deny\"tel\\net\]"`, "", ""},
		{deny, `="deny-telnet"`, "=\"deny\ttelnet\"", "control character, 0x09", "\t"},
		{deny, `="deny-telnet"`, "=\"deny\xfftelnet\"", "not RFC 5424", "\xff"},
		{deny, `risk="1"`, `risk="-1"`, `application-risk "-1" is of 22.2 and later`, `-1"`},
		{deny, `session-id-32`, `session-id`, "session-id where session-id-32 belongs", `session-id`},
		{deny, `"N/A"]`, `"N/A"][pipelined@32473 epoch="1" sequence="x"]`, `sequence "x" is no integer`, `x"]`},
		{deny, `"N/A"]`, `"N/A"][pipelined@32473 sequence="1"]`, "want epoch and sequence", "pipelined@"},
		{filter, " D ", " X ", `"X" in place of word 5`, "X tcp"},
		{filter, "tcp 203.0.113.9", "tcp  203.0.113.9", `"" in place of word 7`, " 203"},
		{filter, "10.0.1.22", "host", `"host" in place of word 8`, "host"},
		{filter, "(1 packets)", "(0 packets)", "in place of word 11", "(0"},
		{filter, "(1 packets)", "(1 packets) x", "a word too many", "x"},
		{filter, " (1 packets)", "", "10 words", "2"},
		{filter, "fpc0", "kernel", `"kernel"`, "kernel"},
		{filter, "- - - - fpc0", "- - - [a@1 b=\"c\"] fpc0", "in a message of text", "a@1"},
		{loss, "rate_limited", "bored", "not the text of a loss record", "events"},
		{loss, "2026-03-01T10:15:23.500Z policy", "yesterday policy", "is no time", "events"},
		{loss, loss[strings.Index(loss, "events"):], "{\"a\":1}", "without event", "{"},
		{loss, loss[strings.Index(loss, "events"):], "{\"a\":}", "not JSON", "}"},
	})
}

// change is a message in which one thing is changed.
type change struct {
	message, from, to string
	want              string // in the problem, "" for none
	at                string // the column is where this begins in the changed message
}

// checkChanges checks changed messages: a problem must be reported at the place of the change.
func checkChanges(t *testing.T, o Options, changes []change) {
	t.Helper()
	for _, c := range changes {
		msg := strings.Replace(c.message, c.from, c.to, 1)
		problems := NewChecker(o).Check([]byte(msg))
		if c.want == "" {
			if len(problems) > 0 {
				t.Errorf("%v in\n%s", problems, msg)
			}
			continue
		}
		found := false
		for _, p := range problems {
			if strings.Contains(p.Text, c.want) {
				found = true
				if at := msg[min(p.Column-1, len(msg)):]; !strings.HasPrefix(at, c.at) {
					t.Errorf("%v is at %q, not at %q", p, at[:min(20, len(at))], c.at)
				}
			}
		}
		if !found {
			t.Errorf("%v: no %q in\n%s", problems, c.want, msg)
		}
	}
}

// TestOptions pins what a profile and an SD-ID demand.
func TestOptions(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Profile: Junos20}, ""},
		{Options{Profile: Junos19}, "parameter src-vrf-grp is one too many for junos-19"},
		{Options{Profile: Junos22}, "session-id-32 where session-id belongs"},
		{Options{Profile: Junos25}, "25 parameters, want 40 (junos-25.4)"},
		{Options{SDID: "junos@2636.1.1.1.2.129"}, ""},
		{Options{SDID: "srx@1"}, "and not srx@1"},
		{Options{AnyPriority: true}, ""},
	} {
		problems := fmt.Sprint(NewChecker(c.o).Check([]byte(deny)))
		if c.want == "" && problems != "[]" || !strings.Contains(problems, c.want) {
			t.Errorf("%+v: %s", c.o, problems)
		}
	}
}

// TestSummary pins what is said about sequence numbers and kinds.
func TestSummary(t *testing.T) {
	var in bytes.Buffer
	for _, n := range []int{1, 2, 5, 4, 5, 6} {
		m := strings.Replace(deny, `"N/A"]`, fmt.Sprintf(`"N/A"][pipelined@32473 epoch="9" sequence="%d"]`, n), 1)
		fmt.Fprintf(&in, "%d %s", len(m), m)
	}
	fmt.Fprintf(&in, "%s\n%s\n%s\n%s\nhello\n", filter, loss, loss,
		strings.NewReplacer("rate_limited", "abandoned", "policy-deny=42", "session-open=7 session-close=3").Replace(loss))
	var problems []string
	res, err := All(&in, Options{}, func(line int, p Problem) { problems = append(problems, fmt.Sprintf("%d:%v", line, p)) })
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := res.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	const want = `        3 LOSS
        1 PFE_FW_SYSLOG_IP
        6 RT_FLOW_SESSION_DENY
       10 events announced as lost: abandoned
       84 events announced as lost: rate_limited
epoch 9: sequence 1 to 6, 1 missing, 1 repeated
11 messages, 1 deviate
`
	if out.String() != want {
		t.Errorf("got\n%s, want\n%s", out.String(), want)
	}
	if len(problems) != 1 || !strings.HasPrefix(problems[0], "11:1: not RFC 5424") {
		t.Errorf("problems %v", problems)
	}
}

// FuzzCheck checks that whatever is read ends in messages or an error, without a panic, and every column is in the message.
func FuzzCheck(f *testing.F) {
	for _, m := range []string{deny, filter, loss, "12 hello", `<1>1 - - - - - [a b="\"]`, `<1>1 - - - - - [a@1][b c="d"] {`, "<0>1 - - - - - - "} {
		f.Add([]byte(m + "\n"))
		f.Add(fmt.Appendf(nil, "%d %s", len(m), m))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, c := syslogframe.NewReader(bytes.NewReader(in)), NewChecker(Options{})
		for {
			msg, _, err := r.Next()
			if err != nil {
				return
			}
			for _, p := range c.Check(msg) {
				if p.Column < 1 || p.Column > len(msg)+1 {
					t.Fatalf("%v in %q", p, msg)
				}
			}
		}
	})
}
