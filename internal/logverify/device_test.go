package logverify

import "testing"

// Lines as devices of other releases send them, and as collectors store ours.
const (
	flow2012  = `<14>1 2012-08-14T10:15:20.125 fw1 RT_FLOW - RT_FLOW_SESSION_CREATE [junos@2636.1.1.1.2.36 source-address="10.0.1.20" source-port="51002" destination-address="198.51.100.10" destination-port="443" service-name="junos-https" nat-source-address="10.0.1.20" nat-source-port="51002" nat-destination-address="198.51.100.10" nat-destination-port="443" src-nat-rule-name="None" dst-nat-rule-name="None" protocol-id="6" policy-name="out" source-zone-name="trust" destination-zone-name="untrust" session-id-32="41" packet-incoming-interface="ge-0/0/1.0" username="LAB\user" encrypted="No "]`
	plain2025 = `<14>Mar  1 10:15:20 fw1 RT_FLOW: RT_FLOW_SESSION_CREATE: session created 10.0.1.20/51002->198.51.100.10/443 0x0 junos-https 10.0.1.20/51002->198.51.100.10/443 0x0 N/A N/A N/A N/A 6 out(global) trust untrust 85905209174 N/A(N/A) ge-0/0/1.0 UNKNOWN UNKNOWN UNKNOWN N/A N/A -1 N/A N/A N/A Off root`
	tunnel    = `<11>1 2020-03-01T10:15:22Z fw1 RT_IDS - RT_SCREEN_IP [junos@2636.1.1.1.2.133 attack-name="Tunnel GRE 4in4!" source-address="203.0.113.9" destination-address="10.0.1.1" protocol-id="47" source-zone-name="untrust" interface-name="ge-0/0/0.0" action="drop"]`
	cluster   = `<174>1 2026-03-01T10:15:23.000Z fw1 - - - - node1.fpc0 PFE_FW_SYSLOG_IP: FW: reth0.0   A icmp 203.0.113.9 10.0.1.22     8     0 (12 packets)`
)

// TestAnyRelease checks that lines of real devices and of collectors are taken, and that what cannot be right is not.
func TestAnyRelease(t *testing.T) {
	checkChanges(t, Options{}, []change{
		{flow2012, "", "", "", ""},
		{plain2025, "", "", "", ""},
		{plain2025, "<14>", "", "", ""},
		{tunnel, "", "", "", ""},
		{cluster, "", "", "", ""},
		{cluster, "node1.fpc0 PFE", "(FPC Slot 1, PIC Slot 1) PFE", "", ""},
		{deny, `N/A"]`, `N/A"] `, "", ""},
		{deny, `N/A"]`, `N/A"] session denied 203.0.113.5/40000->10.0.1.30/23`, "", ""},
		{deny, `roles="N/A"`, `roles="N/A" user-type="N/A" url-risk="0"`, "", ""},
		{deny, "<14>", "<134>", "", ""},
		{deny, "RT_FLOW_SESSION_DENY", "RT_FLOW_SESSION_DENY_LS", "", ""},
		{deny, "RT_FLOW_SESSION_DENY", "APPTRACK_SESSION_VOL_UPDATE", "", ""},
		{loss, "<12>1 2026-03-01T10:15:24.500Z fw1 pipelined - LOSS - ", "<12>Mar  1 10:15:24 fw1 pipelined: LOSS: ", "", ""},
		{flow2012, `source-port="51002"`, `source-port="x"`, `source-port "x" is no integer`, `x" dest`},
		{flow2012, `"10.0.1.20" source-port`, `"10.0.1" source-port`, "is no address", `10.0.1" source-port`},
		{flow2012, `session-id-32="41"`, `session-id-32="none"`, "no integer of 32 bits", `none"`},
		{flow2012, `encrypted="No "`, `peer-source-address="x"`, `"x" is no address`, `x"]`},
		{flow2012, ` source-address="10.0.1.20"`, "", "without source-address", "junos@"},
		{plain2025, "10.0.1.20/51002->", "10.0.1.20/99999->", `"99999" is no port`, "99999"},
		{plain2025, "created 10.0.1.20/", "created host/", `"host" is no address`, "host/"},
		{plain2025, "RT_FLOW: RT_FLOW_SESSION_CREATE: ", "sshd[12]: ", "neither RT_FLOW", "sshd"},
		{plain2025, "10.0.1.20/51002->198.51.100.10/443 0x0", "nothing", "without source and destination", "session created"},
		{cluster, " A icmp", " X icmp", "not the text of a firewall-filter log", "node1"},
		{cluster, "203.0.113.9", "203.0.113", "is no address", "203.0.113 "},
		{deny, "RT_FLOW_SESSION_DENY", "SOMETHING", "unknown message SOMETHING", "SOMETHING"},
		{"hello", "", "", "not RFC 5424", "hello"},
	})
}

// TestPlainGolden checks what the encoder of the plain form is known to print.
func TestPlainGolden(t *testing.T) {
	for _, name := range Profiles() {
		lines := golden(t, "rfc3164-"+name+".txt")
		c := NewChecker(Options{})
		for _, line := range lines {
			for _, p := range c.Check([]byte(line)) {
				t.Errorf("%v in\n%s", p, line)
			}
		}
		if len(lines) == 0 || c.counts["RT_FLOW_SESSION_CLOSE"] == 0 || c.counts["PFE_FW_SYSLOG_IP"] == 0 {
			t.Errorf("%s: %v", name, c.counts)
		}
	}
}
