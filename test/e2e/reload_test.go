package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestReload changes the policies of a running daemon with SIGHUP: what comes later is judged by the new ones, under their names; then
// makes a mistake, and a change that needs a restart: both are refused, and the daemon goes on.
func TestReload(t *testing.T) {
	n := newNetwork(t)
	n.serve()
	d := start(n, "")
	path := filepath.Join(d.dir, "pipeline.toml")
	first := readFile(t, path)
	reload := func(text string) {
		t.Helper()
		n.must(os.WriteFile(path, []byte(text), 0o644))
		d.signal(syscall.SIGHUP)
		d.waitState("READY=1")
	}
	n.get(n.client, serverIP)
	eventually(t, "the first session", func() bool { return count(d.events(), "SESSION_CREATE", `policy-name="in-to-servers"`) == 1 })

	reload(strings.Replace(first, `"in-to-servers"`, `"another-name"`, 1))
	if st := d.status(); st.Configuration.Number != 2 || st.Configuration.Refused != "" {
		t.Fatalf("after a reload: %+v", st.Configuration)
	}
	n.get(n.client, serverIP)
	eventually(t, "the session by the new policy", func() bool { return count(d.events(), "SESSION_CREATE", `policy-name="another-name"`) == 1 })

	second := strings.Replace(first, "then = \"permit\"", "then = \"deny\"", 1)
	reload(second)
	n.get(n.client, serverIP)
	eventually(t, "the denial", func() bool { return count(d.events(), "SESSION_DENY", `policy-name="in-to-servers"`) > 0 })

	for _, c := range []struct{ text, why string }{
		{strings.Replace(second, `from = "inside"`, `from = "insight"`, 1), "mistakes"},
		{strings.Replace(second, `drain   = "5s"`, "drain   = \"5s\"\nstate   = \"/var/lib/elsewhere\"", 1), "restart is needed for what has changed in service.state"},
	} {
		reload(c.text)
		if st := d.status(); st.Configuration.Number != 3 || !strings.Contains(st.Configuration.Refused, c.why) {
			t.Errorf("configuration %+v, want the third, and a refusal: %s", st.Configuration, c.why)
		}
	}
	if !strings.Contains(d.stderr.String(), `did you mean "inside"`) && !strings.Contains(d.stderr.String(), "insight") {
		t.Errorf("the log does not name the mistake:\n%s", d.stderr.String())
	}
	reload(first)
	n.get(n.client, serverIP)
	eventually(t, "a session after the refusals", func() bool { return count(d.events(), "SESSION_CREATE", `policy-name="in-to-servers"`) == 2 })
	for name, sessions := range map[string]int{"in-to-servers": 2, "another-name": 1} {
		eventually(t, "a session ends under the name that it began with", func() bool {
			return count(d.events(), "SESSION_CLOSE", fmt.Sprintf("policy-name=%q", name)) == sessions
		})
	}
	d.stop()
}
