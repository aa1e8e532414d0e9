package packettext

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
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

// TestParseRecord reads rule and zones in every format: they are those of the JSON, as far as a format has them.
func TestParseRecord(t *testing.T) {
	all := goldenLines(t)
	read := make(map[string]int) // of lines that name a rule, by format
	for format, lines := range all {
		for name, line := range lines {
			r, err := ParseRecord(line)
			want, wantErr := ParseRecord(all["json"][name])
			if err != nil || wantErr != nil {
				continue // see TestParseLogFormats
			}
			for _, part := range []struct{ what, got, want string }{
				{"rule", r.Rule, want.Rule}, {"term", r.Term, want.Term}, {"from", r.From, want.From}, {"to", r.To, want.To},
			} {
				if part.got != part.want && part.got != "" {
					t.Errorf("%s, %s: %s is %q, from JSON %q: %s", format, name, part.what, part.got, part.want, line)
				}
			}
			if r.Filter != want.Filter {
				t.Errorf("%s, %s: filter %v, from JSON %v: %s", format, name, r.Filter, want.Filter, line)
			}
			if r.Rule != "" {
				read[format]++
			}
		}
	}
	for format := range all {
		if read[format] < 2 {
			t.Errorf("%s: only %d lines name a rule", format, read[format])
		}
	}
	for line, want := range map[string]Record{
		"10:15:21.003 deny   203.0.113.5:40000 > 10.0.1.30:23    telnet wan>lan":                          {From: "wan", To: "lan"},
		"10:15:21.003 deny   203.0.113.5:40000 > 10.0.1.30:23    telnet rest >lan":                        {Rule: "rest", To: "lan"},
		"10:15:20.125 open   10.0.1.20:51002 > 198.51.100.10:443 https snat 192.0.2.1:61002":              {},
		"10:15:20.125 open   10.0.1.20:51002 > 198.51.100.10:443 https snat lan>wan snat 192.0.2.1:61002": {Rule: "snat", From: "lan", To: "wan"},
		"10:15:50.875 close  10.0.1.20:51002 > 198.51.100.10:443 https cli RST 30s 12/10p 3.4k/65kB out":  {Rule: "out"},
		"10:15:23.000 filter 203.0.113.9:51000 > 10.0.1.22:22    tcp accept watch/ wan0":                  {Rule: "watch", Filter: true},
	} {
		r, err := ParseRecord(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		want.Packet = r.Packet
		if *r != want {
			t.Errorf("%s: read as %+v, want %+v", line, *r, want)
		}
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

// encoded returns the line for people of a record.
func encoded(t *testing.T, r *event.Record, n *event.Names) string {
	t.Helper()
	encoder, err := format.New(format.Options{Format: format.Text})
	if err != nil {
		t.Fatal(err)
	}
	return string(encoder.Append(nil, r, n))
}

// Whichever application stands in the place of the protocol, the protocol is found.
func TestParseLogApplications(t *testing.T) {
	table := application.Predefined()
	names := &event.Names{Applications: table.Names()}
	src, dst := [16]byte{10, 0, 0, 1}, [16]byte{10, 0, 0, 2}
	found := 0
	for _, proto := range []uint8{packet.ProtoICMP, packet.ProtoTCP, packet.ProtoUDP, packet.ProtoICMPv6, packet.ProtoSCTP, 47, 50, 200} {
		family := uint8(event.FamilyIPv4)
		if proto == packet.ProtoICMPv6 {
			family = event.FamilyIPv6
		}
		for port := range uint16(10000) {
			app := table.Service(proto, port)
			if !hasPorts(proto) {
				if port > 0 {
					break
				}
			} else if app == application.None {
				continue
			}
			var r event.Record
			r.Reset(event.SessionOpen)
			r.SetFlow(family, proto, &src, &dst, 40000, port)
			r.SetApplication(app)
			line := encoded(t, &r, names)
			p, err := ParseLog(line)
			// Where the same application has the port in both protocols, the line does not say which.
			either := hasPorts(proto) && table.Service(packet.ProtoTCP, port) == app && table.Service(packet.ProtoUDP, port) == app
			if err != nil || p.Proto != proto && !either {
				t.Errorf("%s: read as %+v, %v", line, p, err)
			}
			found++
		}
	}
	if found < 100 {
		t.Errorf("only %d", found)
	}
	const unknown = "10:15:21.100 deny   10.0.1.5:40000 > 192.0.2.80:5060 fax no-fax"
	if p, err := ParseLog(unknown); err == nil || errors.Is(err, ErrNoRecord) {
		t.Errorf("an unknown application: %+v, %v", p, err)
	}
}

// What the line for people says of a filter is read back, whichever of its names are known: the last word is no interface of itself.
func TestParseLogFilter(t *testing.T) {
	names := &event.Names{Interfaces: map[uint32]string{0: "", 1: "ge-0/0/0.0"}, Filters: []event.Filter{{}, {Name: "edge-in", Terms: []string{"rest"}}}}
	for _, proto := range []uint8{1, 6} {
		for filter := range uint16(2) {
			for iface, want := range names.Interfaces {
				var r event.Record
				r.Reset(event.FilterLog)
				r.SetFlow(event.FamilyIPv4, proto, &[16]byte{10, 0, 0, 1}, &[16]byte{10, 0, 0, 2}, 1000, 80)
				r.SetFilter(uint32(filter), 0, 0, 8, 0)
				r.SetInterface(uint32(iface))
				line := encoded(t, &r, names)
				p, err := ParseLog(line)
				if filter == 0 {
					want = "" // a word alone could be either
				}
				if err != nil || p.In != want {
					t.Errorf("%s: read as %+v, %v", line, p, err)
				}
			}
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
