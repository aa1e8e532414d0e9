package filterlog

import (
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
)

// These tests pin, with [TestNoMatchIsDiscarded] and [TestAddressesOfOneFamilyNeverMatchTheOther], what other firewalls
// get wrong.

// TestIsFragmentIsNotTheFirst: the first fragment has ports to filter by, the others are what is-fragment is for.
func TestIsFragmentIsNotTheFirst(t *testing.T) {
	inst := load(t, `term = [{ name = "t", from = { is-fragment = true }, then = "reject" }]`)
	if v, _ := inspect(inst.Ingress, firstFragment(udp(t, 1, 2))); v == hook.Prohibit {
		t.Error("the first fragment is one")
	}
	if v, _ := inspect(inst.Ingress, laterFragment(udp(t, 1, 2))); v != hook.Prohibit {
		t.Error("a later fragment is none")
	}
}

// TestTCPFlagsAreAnExpression and not a list of bits that must all be set.
func TestTCPFlagsAreAnExpression(t *testing.T) {
	inst := load(t, `term = [{ name = "t", from = { tcp-flags = "syn & !ack | rst" }, then = "reject" }]`)
	for flags, want := range map[uint8]hook.Verdict{
		packet.SYN: hook.Prohibit, packet.RST: hook.Prohibit, packet.RST | packet.ACK: hook.Prohibit,
		packet.SYN | packet.ACK: hook.Drop, packet.ACK: hook.Drop,
	} {
		if v, _ := inspect(inst.Ingress, tcp(t, flags, 80)); v != want {
			t.Errorf("flags %#x: verdict %d, want %d", flags, v, want)
		}
	}
}

// TestUnknownActionIsNotAccept, nor is an unknown condition one that always holds.
func TestUnknownActionIsNotAccept(t *testing.T) {
	for _, body := range []string{
		`term = [{ name = "t", then = "drop" }]`, `term = [{ name = "t", then = ["log", "deny"] }]`,
		`term = [{ name = "t", from = { port-range = "1-2" } }]`,
	} {
		s, problems := config.ParseTable("test.toml", []byte("[hooks.f]\n"+body), "hooks", "f")
		Plugin().Configure(s, testEnv())
		if problems.Err() == nil {
			t.Errorf("%s is accepted", body)
		}
	}
}

// TestLogIsWhatTheTermSays: a term without log or syslog makes no event whatever its action is.
func TestLogIsWhatTheTermSays(t *testing.T) {
	for _, action := range []string{"accept", "discard", "reject", "count c"} {
		quiet := load(t, `term = [{ name = "t", then = "`+action+`" }]`)
		if _, f := inspect(quiet.Ingress, udp(t, 1, 2)); f.Found {
			t.Errorf("%s makes an event", action)
		}
		for _, log := range []string{"log", "syslog"} {
			loud := load(t, `term = [{ name = "t", then = ["`+action+`", "`+log+`"] }]`)
			if _, f := inspect(loud.Ingress, udp(t, 1, 2)); !f.Found {
				t.Errorf("%s with %s makes no event", action, log)
			}
		}
	}
}

// TestTCPReset: what is not TCP is told as a plain reject tells it.
func TestTCPReset(t *testing.T) {
	inst := load(t, `term = [{ name = "t", then = "reject tcp-reset" }]`)
	if v, _ := inspect(inst.Ingress, tcp(t, packet.SYN, 80)); v != hook.Reject {
		t.Errorf("TCP: verdict %d", v)
	}
	if v, _ := inspect(inst.Ingress, udp(t, 1, 2)); v != hook.Prohibit {
		t.Errorf("UDP: verdict %d", v)
	}
}
