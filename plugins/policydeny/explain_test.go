package policydeny

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
)

// TestFails: a policy of which no condition fails is one that the index finds, and the nearest policy is one that lets the packet pass
// once what it fails for is not asked any more.
func TestFails(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 15))
	matched, failed, nearest, ordered := 0, 0, 0, 0
	for range 1500 {
		s := randomOptions(r, 20)
		cfg, problems := config.ParseTable("random.toml", nil)
		e := compile(&s, &trackedConfig{Config: cfg}, testEnv(1))
		if problems.Err() != nil {
			continue
		}
		alone := make([]*index, len(e.policies))
		for i := range e.policies {
			alone[i] = newIndex(e.policies[i:i+1], e.decisions[i:i+1])
		}
		for range 20 {
			p := randomPacket(r)
			for i := range e.policies {
				scratch := alone[i].newScratch()
				fails := e.fails(&e.policies[i], &p)
				if found := alone[i].find(&p, &scratch) != nil; found != (len(fails) == 0) {
					t.Fatalf("policy %+v, packet %+v: found %v, fails %v", s.Policies[i], p, found, fails)
				} else if found {
					matched++
				} else {
					failed++
				}
			}
			number, _ := e.find(&p)
			n := e.nearest(&p, number)
			if n == nil {
				continue
			}
			nearest++
			if n.Then != thenPermit || len(n.Fails) == 0 && number == len(e.policies) {
				t.Fatalf("packet %+v: nearest %+v", p, n)
			}
			for _, f := range n.Fails {
				if strings.HasPrefix(f.Text, "order: ") {
					ordered++
				}
				if !strings.HasPrefix(f.Key, n.Key) {
					t.Fatalf("the condition %q is not one of %q", f.Key, n.Key)
				}
			}
		}
	}
	if matched < 1000 || failed < 1000 || nearest < 1000 || ordered < 100 {
		t.Errorf("the random cases are too poor: %d matched, %d failed, %d nearest, %d of them behind another", matched, failed, nearest, ordered)
	}
}

// TestNearest names the one condition that a packet fails.
func TestNearest(t *testing.T) {
	cfg, problems := config.ParseTable("p.toml", []byte(`
[[policy]]
name = "web"
from = "trust"
to = "untrust"
application = "junos-http"
then = "permit"
[[policy]]
name = "no"
from = "any"
to = "any"
then = "deny"
[[policy]]
name = "late"
from = "any"
to = "any"
then = "permit"
`))
	in := configure(cfg, testEnv(1)).Session
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	e := in.(hook.Explainer)
	for _, c := range []struct {
		in, out uint16
		port    uint16
		want    string
	}{
		{trust, untrust, 8080, "web: application: tcp port 8080 is not in junos-http"},
		{untrust, trust, 80, "late: order: policy no is asked first"},
		{trust, dmz, 80, "web: to: the packet goes to dmz, not to untrust"},
	} {
		p := hook.Packet{InZone: c.in, OutZone: c.out}
		p.Family, p.Proto, p.DstPort, p.HasHead, p.HasL4 = 2, 6, c.port, true, true
		var f hook.Finding
		v := in.Decide(&p, new(hook.Permit), &f)
		x := e.Explain(&p, v, &f)
		if len(x.Matched) != 1 || x.Matched[0].Name != "no" || x.Nearest == nil || len(x.Nearest().Fails) != 1 {
			t.Errorf("port %d: %+v", c.port, x)
			continue
		}
		if got := x.Nearest().Name + ": " + x.Nearest().Fails[0].Text; got != c.want {
			t.Errorf("port %d: %q, want %q", c.port, got, c.want)
		}
	}
}
