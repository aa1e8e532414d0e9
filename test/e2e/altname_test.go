package e2e

import (
	"os"
	"strings"
	"testing"
)

// TestAlternativeNames gives the tap's interface two alternative names, and writes one in the source, the other in a zone and the
// name in a filter: all mean the interface. check refuses two zones that claim it by different names.
func TestAlternativeNames(t *testing.T) {
	const long = "mirror-port-of-the-switch" // longer than a name can be
	n := newNetwork(t)
	for _, name := range []string{long, "uplink"} {
		n.tap.Run("ip", "link", "property", "add", "dev", "tap0", "altname", name)
	}
	n.serve()
	for _, attached := range []string{"tap0", "uplink", long} {
		text := strings.NewReplacer(
			`interface = "tap0"`, `interface = "`+long+`"`,
			`attach = { input = ["tap0"] }`, `attach = { input = ["`+attached+`"] }`,
			"[zones.outside]\n", "[zones.outside]\ninterfaces = [\"uplink\"]\n",
		).Replace(config)
		d := startWith(n, text, "")
		n.get(n.client, serverIP) // by its prefix it is of zone inside
		n.knock(23)
		eventually(t, "the session is of the interface's zone", func() bool {
			return count(d.events(), "RT_FLOW_SESSION_CREATE", `source-zone-name="outside"`, `policy-name="web"`) == 1
		})
		eventually(t, "the filter sees the packet to telnet", func() bool { return count(d.events(), "PFE_FW_SYSLOG") > 0 })
		d.stop()
	}

	path := t.TempDir() + "/two.toml"
	text := strings.NewReplacer("DIR/", t.TempDir()+"/", "JSON/", t.TempDir()+"/",
		"[zones.outside]\n", "[zones.outside]\ninterfaces = [\"uplink\"]\n",
		"[zones.inside]\n", "[zones.inside]\ninterfaces = [\"tap0\"]\n").Replace(config)
	n.must(os.WriteFile(path, []byte(text), 0o644))
	out, err := runIn(n.tap, program, "check", "--config", path)
	if err == nil || !strings.Contains(out, "zones.outside.interfaces[0]: uplink is another name of tap0, which already belongs to zone inside") {
		t.Errorf("two zones claim one interface: %v\n%s", err, out)
	}
}
