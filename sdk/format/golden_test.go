package format_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/sdk/format"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestKnownLines holds the lines that were put together by hand from those of real devices.
func TestKnownLines(t *testing.T) {
	const p20, p22 = format.Junos20, format.Junos22
	all := samples()
	for _, c := range []struct {
		sample  int
		profile string
		want    string
	}{
		{0, p20, `<14>1 2026-03-01T10:15:20.125Z fw1 RT_FLOW - RT_FLOW_SESSION_CREATE [junos@2636.1.1.1.2.129 source-address="10.0.1.20" source-port="51002" destination-address="198.51.100.10" destination-port="443" connection-tag="0" service-name="junos-https" nat-source-address="10.0.1.20" nat-source-port="51002" nat-destination-address="198.51.100.10" nat-destination-port="443" nat-connection-tag="0" src-nat-rule-type="N/A" src-nat-rule-name="N/A" dst-nat-rule-type="N/A" dst-nat-rule-name="N/A" protocol-id="6" policy-name="web-out" source-zone-name="trust" destination-zone-name="untrust" session-id-32="9001" username="N/A" roles="N/A" packet-incoming-interface="ge-0/0/1.0" application="UNKNOWN" nested-application="UNKNOWN" encrypted="UNKNOWN" application-category="N/A" application-sub-category="N/A" application-risk="1" application-characteristics="N/A" src-vrf-grp="N/A" dst-vrf-grp="N/A"]`},
		{1, p20, `<14>1 2026-03-01T10:15:21.003Z fw1 RT_FLOW - RT_FLOW_SESSION_DENY [junos@2636.1.1.1.2.129 source-address="203.0.113.5" source-port="40000" destination-address="10.0.1.30" destination-port="23" connection-tag="0" service-name="junos-telnet" protocol-id="6" icmp-type="0" policy-name="deny-telnet" source-zone-name="untrust" destination-zone-name="trust" application="UNKNOWN" nested-application="UNKNOWN" username="N/A" roles="N/A" packet-incoming-interface="ge-0/0/0.0" encrypted="No" reason="Denied by policy" session-id-32="9002" application-category="N/A" application-sub-category="N/A" application-risk="1" application-characteristics="N/A" src-vrf-grp="N/A" dst-vrf-grp="N/A"]`},
		{2, p20, `<11>1 2026-03-01T10:15:22.000Z fw1 RT_IDS - RT_SCREEN_UDP [junos@2636.1.1.1.2.129 attack-name="UDP flood!" source-address="203.0.113.7" source-port="4000" destination-address="10.0.1.53" destination-port="53" source-zone-name="untrust" interface-name="ge-0/0/0.0" action="drop"]`},
		{2, p22, `<11>1 2026-03-01T10:15:22.000Z fw1 RT_IDS - RT_SCREEN_UDP [junos@2636.1.1.1.2.129 attack-name="UDP flood!" source-address="203.0.113.7" source-port="4000" destination-address="10.0.1.53" destination-port="53" source-zone-name="untrust" interface-name="ge-0/0/0.0" action="drop"]`},
		{3, p20, `<158>1 2026-03-01T10:15:23.000Z fw1 - - - - fpc0 PFE_FW_SYSLOG_IP: FW: ge-0/0/0.0 D tcp 203.0.113.9 10.0.1.22 51000 22 (1 packets)`},
	} {
		e := newEncoder(t, format.Options{Profile: c.profile})
		if diff := cmp.Diff(c.want, string(e.Append(nil, all[c.sample].r, names()))); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", all[c.sample].name, c.profile, diff)
		}
	}
}

// TestKnownPlainLines does the same for the plain form.
func TestKnownPlainLines(t *testing.T) {
	all := samples()
	for sample, want := range map[int]string{
		0: `<14>Mar  1 10:15:20 fw1 RT_FLOW: RT_FLOW_SESSION_CREATE: session created 10.0.1.20/51002->198.51.100.10/443 0x0 junos-https 10.0.1.20/51002->198.51.100.10/443 0x0 N/A N/A N/A N/A 6 web-out trust untrust 9001 N/A(N/A) ge-0/0/1.0 UNKNOWN UNKNOWN UNKNOWN N/A N/A -1 N/A N/A N/A Off root N/A N/A`,
		1: `<14>Mar  1 10:15:21 fw1 RT_FLOW: RT_FLOW_SESSION_DENY: session denied 203.0.113.5/40000->10.0.1.30/23 0x0 junos-telnet 6(0) deny-telnet untrust trust UNKNOWN UNKNOWN N/A(N/A) ge-0/0/0.0 No Denied by policy 9002 N/A N/A -1 N/A N/A N/A N/A N/A`,
		2: `<11>Mar  1 10:15:22 fw1 RT_IDS: RT_SCREEN_UDP: UDP flood! source: 203.0.113.7:4000, destination: 10.0.1.53:53, zone name: untrust, interface name: ge-0/0/0.0, action: drop`,
		3: `<158>Mar  1 10:15:23 fw1 fpc0 PFE_FW_SYSLOG_IP: FW: ge-0/0/0.0 D tcp 203.0.113.9 10.0.1.22 51000 22 (1 packets)`,
	} {
		e := newEncoder(t, format.Options{Format: format.RFC3164, Profile: format.Junos22})
		if diff := cmp.Diff(want, string(e.Append(nil, all[sample].r, names()))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", all[sample].name, diff)
		}
	}
}

// TestGolden compares every sample in every format and profile with testdata; -update rewrites it.
func TestGolden(t *testing.T) {
	for _, o := range []format.Options{
		{Format: format.RFC5424, Profile: format.Junos19},
		{Format: format.RFC5424, Profile: format.Junos20},
		{Format: format.RFC5424, Profile: format.Junos22, Platform: 143},
		{Format: format.RFC5424, Profile: format.Junos25},
		{Format: format.RFC5424, Profile: format.Junos20, Sequence: true, Epoch: 1764077640000000000, StructuredFilter: true},
		{Format: format.RFC5424, Profile: format.Junos20, Text: true},
		{Format: format.RFC5424, Profile: format.Junos25, Text: true},
		{Format: format.RFC3164, Profile: format.Junos19},
		{Format: format.RFC3164, Profile: format.Junos20},
		{Format: format.RFC3164, Profile: format.Junos22},
		{Format: format.RFC3164, Profile: format.Junos25},
		{Format: format.JSON},
		{Format: format.Text},
		{Format: format.Text, Colour: true},
		{Format: format.JSON, Envelope: true, Sequence: true, Epoch: 1764077640000000000},
	} {
		name := strings.TrimSuffix(o.Format+"-"+o.Profile, "-")
		if o.Text {
			name += "-text"
		}
		if o.Colour {
			name += "-colour"
		}
		if o.Envelope {
			name += "-in-rfc5424"
		} else if o.Sequence {
			name += "-sequence"
		}
		t.Run(name, func(t *testing.T) {
			e := newEncoder(t, o)
			var got []byte
			for _, s := range samples() {
				got = append(got, "# "+s.name+"\n"...)
				got = e.Append(got, s.r, names())
				got = append(got, e.Terminator()...)
			}
			path := filepath.Join("testdata", "golden", name+".txt")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
