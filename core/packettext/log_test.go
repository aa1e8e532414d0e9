package packettext

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// goldenLines returns the lines that the formats of sinks write, by format and the name of the record.
func goldenLines(tb testing.TB) map[string]map[string]string {
	tb.Helper()
	files, err := filepath.Glob("../../sdk/format/testdata/golden/*.txt")
	if err != nil || len(files) == 0 {
		tb.Fatal("no golden files", err)
	}
	all := make(map[string]map[string]string)
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			tb.Fatal(err)
		}
		lines := make(map[string]string)
		name := ""
		for s := bufio.NewScanner(f); s.Scan(); {
			if comment, ok := strings.CutPrefix(s.Text(), "# "); ok {
				name = comment
			} else {
				lines[name] = s.Text()
			}
		}
		if err := f.Close(); err != nil {
			tb.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".txt")] = lines
	}
	return all
}

// Whatever format a record is written in, the packet is the same; the short line of a session does not name the interface.
func TestParseLogFormats(t *testing.T) {
	all := goldenLines(t)
	read := 0
	for format, lines := range all {
		for name, line := range lines {
			if strings.HasPrefix(format, "text-colour") {
				continue // for terminals alone
			}
			p, err := ParseLog(line)
			want, wantErr := ParseLog(all["json"][name])
			switch {
			case all["json"][name] == "":
			case (err == nil) != (wantErr == nil):
				t.Errorf("%s, %s: %v, from JSON %v: %s", format, name, err, wantErr, line)
			case errors.Is(err, ErrNoRecord) != errors.Is(wantErr, ErrNoRecord):
				t.Errorf("%s, %s: %v, from JSON %v", format, name, err, wantErr)
			case err != nil:
			case p.Src != want.Src || p.Dst != want.Dst || p.Proto != want.Proto || p.In != want.In && p.In != "":
				t.Errorf("%s, %s: read as %s, from JSON %s", format, name, p.Text, want.Text)
			default:
				read++
			}
		}
	}
	if read < 300 {
		t.Errorf("only %d lines could be read", read)
	}
}

// What a line says beyond the two ends is read, too.
func TestParseLog(t *testing.T) {
	for line, want := range map[string]string{
		`<14>1 2026-03-01T10:15:21.003Z fw1 RT_FLOW - RT_FLOW_SESSION_DENY [junos@2636.1.1.1.2.143 source-address="203.0.113.5" source-port="40000" destination-address="10.0.1.30" destination-port="23" protocol-id="6" icmp-type="0" packet-incoming-interface="ge-0/0/0.0"]`: "tcp 203.0.113.5:40000 > 10.0.1.30:23 in ge-0/0/0.0",
		"<14>Mar  1 10:15:21 fw1 RT_FLOW: RT_FLOW_SESSION_DENY: session denied 203.0.113.5/0->10.0.1.30/0 0x0 icmp 1(13) deny-telnet untrust trust UNKNOWN UNKNOWN N/A(N/A) ge-0/0/0.0 No Denied by policy 9002":                                                                 "icmp 203.0.113.5 > 10.0.1.30 type 13 in ge-0/0/0.0",
		"10:15:21.100 deny   2001:db8::5 > 2001:db8::30             icmp6 128 deny-telnet":            "icmp6 2001:db8::5 > 2001:db8::30 type 128",
		"10:15:23.000 filter [2001:db8::9]:51000 > [2001:db8::22]:22    tcp discard edge-in/ssh wan0": "tcp [2001:db8::9]:51000 > [2001:db8::22]:22 in wan0",
	} {
		p, err := ParseLog(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
		} else if p.Text != want {
			t.Errorf("%s: read as %q, want %q", line, p.Text, want)
		}
	}
	for _, line := range []string{
		"", "a > b", `{"source":{"ip":"x"}}`, `[x source-address="nonsense" destination-address="10.0.0.1" protocol-id="6" source-port="1" destination-port="1"]`,
		`[x source-address="10.0.0.2" destination-address="10.0.0.1" protocol-id="6" source-port="1" destination-port="65536"]`,
		"Nov 30 04:34:04 host sshd[1]: session opened",
	} {
		if p, err := ParseLog(line); err == nil {
			t.Errorf("%q is read as %s", line, p.Text)
		}
	}
}

func FuzzParseLog(f *testing.F) {
	for _, lines := range goldenLines(f) {
		for _, line := range lines {
			f.Add(line)
		}
	}
	f.Fuzz(func(t *testing.T, line string) {
		p, err := ParseLog(line)
		if err != nil {
			return
		}
		if again, err := Parse(p.Text); err != nil || again.Src != p.Src || again.Dst != p.Dst || again.Proto != p.Proto {
			t.Errorf("%q: read as %q, which is read as %+v, %v", line, p.Text, again, err)
		}
		p.Frame(0)
	})
}
