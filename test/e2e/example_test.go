package e2e

import (
	"net"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/internal/testing/logbuffer"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// ownRules are those of somebody's router, before anything is added for the daemon.
const ownRules = `
table inet filter {
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		iifname "lan0" oifname "wan0" tcp dport 23 log prefix "DROP:no-telnet " group 5 drop
		iifname "lan0" accept
		ct status dnat accept
	}
}
table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat;
		iifname "wan0" tcp dport 8080 dnat to 10.20.2.2:80
	}
	chain postrouting {
		type nat hook postrouting priority srcnat;
		iifname "lan0" oifname "wan0" masquerade
	}
}
`

// synFIN sends a packet to the router's address in wan that no system sends by itself.
func (f *firewall) synFIN() {
	f.t.Helper()
	ether := layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, DstMAC: f.tap.Link("wan0").Attrs().HardwareAddr, EthernetType: layers.EthernetTypeIPv4}
	ip := layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.ParseIP(nettest.WANHost), DstIP: net.ParseIP(nettest.WANRouter)}
	tcp := layers.TCP{SrcPort: 40139, DstPort: 22, SYN: true, FIN: true, Window: 1000}
	f.must(tcp.SetNetworkLayerForChecksum(&ip))
	frame := gopacket.NewSerializeBuffer()
	f.must(gopacket.SerializeLayers(frame, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, &ether, &ip, &tcp))
	f.WAN.Wire("eth0").Send(frame.Bytes())
}

// TestRouterExample does with a router what README.md tells: the configuration that is shipped, as it is, and the lines of nft in it.
func TestRouterExample(t *testing.T) {
	r := nettest.NewRouter(t)
	nettest.RequireCommands(t, "curl")
	f := &firewall{network: &network{t: t, client: r.LAN, server: r.WAN, attacker: r.WAN, tap: r.Host}, Router: r}
	r.Rules(ownRules)
	for _, h := range []*nettest.Host{r.WAN, r.DMZ} {
		f.serveHTTP(h)
	}
	f.serveDNS()

	config, page := readFile(t, "../../router.toml"), readFile(t, "../../README.md")
	lines := regexp.MustCompile(`(?m)^# +(nft add .*)$`).FindAllStringSubmatch(config, -1)
	if len(lines) != 3 {
		t.Fatalf("%d lines of nft, want three", len(lines))
	}
	for _, line := range lines {
		r.Run("sh", "-c", line[1])
		if !strings.Contains(page, "sudo "+line[1]+"\n") {
			t.Errorf("README.md lacks: sudo %s", line[1])
		}
	}
	rest := regexp.MustCompile("`sudo (nft add rule inet filter forward .*)`").FindStringSubmatch(page)
	if rest == nil {
		t.Fatal("README.md does not say how to log what the policy of a chain drops")
	}
	r.Run("sh", "-c", rest[1])

	for _, line := range regexp.MustCompile(`(?m)^ +sudo (nft add .*)$`).FindAllStringSubmatch(readFile(t, "../../docs/sources.md"), -1) {
		r.Run("sh", "-c", line[1]) // keeps connections on lo untracked
	}

	var out, errs logbuffer.Buffer
	daemon := exec.Command(program, "run", "--config", "../../router.toml")
	daemon.Stdout, daemon.Stderr = &out, &errs
	before := subscribers(t, r.Host)
	r.Start(daemon)
	eventually(t, "the daemon listens", func() bool { return strings.Contains(errs.String(), "msg=running") && subscribers(t, r.Host) > before })
	r.Run("curl", "--silent", "--fail", "http://127.0.0.1:9464/healthz")
	f.curl(r.LAN, "http://"+nettest.WANHost+"/")
	f.curl(r.WAN, "http://"+nettest.WANRouter+":8080/")
	f.resolve(nettest.WANHost)
	f.syn(r.LAN, nettest.WANHost, 23)
	f.syn(r.WAN, nettest.LANHost6, 22)
	f.synFIN()
	_, shown, _ := strings.Cut(page, "and sessions appear as they begin and end")
	_, shown, _ = strings.Cut(shown, "```\n")
	shown, _, _ = strings.Cut(shown, "   ```\n")
	if count(shown, " open ") == 0 || count(shown, " close ") == 0 || count(shown, " deny ") == 0 || count(shown, " alarm ") == 0 {
		t.Fatalf("README.md shows no line of each sort:\n%s", shown)
	}
	for line := range strings.Lines(shown) {
		pattern := regexp.QuoteMeta(strings.Join(strings.Fields(line), " "))
		pattern = regexp.MustCompile(`\d+`).ReplaceAllString(strings.ReplaceAll(pattern, " ", ` +`), `\d+`)
		printed := regexp.MustCompile(`(?m)^` + pattern + `$`)
		eventually(t, "it prints "+pattern+"; so far\n"+out.String(), func() bool { return printed.MatchString(out.String()) })
	}
	if n := count(out.String(), "127.0.0.1"); n != 0 {
		t.Errorf("%d lines about connections on lo", n)
	}
	if n := count(out.String(), " open ", "> "+nettest.WANHost+":80 "); n != 1 {
		t.Errorf("one connection began %d times", n)
	}
	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Wait(); err != nil || !strings.Contains(errs.String(), "\n0 unaccounted for\n") {
		t.Errorf("%v\n%s", err, errs.String())
	}
	if t.Failed() {
		t.Logf("it printed\n%s", out.String())
	}
}
