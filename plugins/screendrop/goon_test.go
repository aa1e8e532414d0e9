package screendrop

import (
	"fmt"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestGoesOn changes one screen while others count: those that have not changed go on where they were, the one that has begins anew, and a
// copy for a few packets has seen none.
func TestGoesOn(t *testing.T) {
	next := func(former *hook.Instance, body string) hook.Instance {
		t.Helper()
		s, problems := config.ParseTable("test.toml", []byte("[hooks.screens]\nplugin = \"screendrop\"\nzones = [\"untrust\", \"dmz\"]\n"+body), "hooks", "screens")
		env := testEnv()
		env.Former = former
		inst := Plugin().Configure(s, env)
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		return inst
	}
	const text = "udp = { flood = { threshold = 10 } }\nicmp = { flood = { threshold = %d }, ip-sweep = { threshold = \"5ms\" } }\nip = { tear-drop = %t }"
	first := next(nil, fmt.Sprintf(text, 10, false))
	for range 10 {
		for _, p := range []hook.Packet{udp(t), icmp(t)} {
			if got := seen(first, p); got != "pass" {
				t.Fatalf("below the threshold: %s", got)
			}
		}
	}
	second := next(&first, fmt.Sprintf(text, 20, true))
	udpOver, icmpUnder := udp(t), icmp(t)
	if got := seen(second.Fresh(), udpOver); got != "pass" {
		t.Errorf("a copy for a few packets has seen others: %s", got)
	}
	if got, want := seen(second, udpOver), "drop, drop: "+event.ScreenUDPFlood.String(); got != want {
		t.Errorf("the flood that goes on: %s, want %s", got, want)
	}
	if got := seen(first, udpOver); got != "drop" {
		t.Errorf("the flood that goes on, by the former screens: %s; it was reported", got)
	}
	for n := range 20 {
		if got := seen(second, icmpUnder); got != "pass" {
			t.Fatalf("packet %d of a screen with another threshold: %s", n, got)
		}
	}
	if got, want := seen(second, icmpUnder), "drop, drop: "+event.ScreenICMPFlood.String(); got != want {
		t.Errorf("above the new threshold: %s, want %s", got, want)
	}
	third := next(&second, fmt.Sprintf(text, 20, true))
	if second.Ingress.(*screens).tearDrop != third.Ingress.(*screens).tearDrop {
		t.Error("fragments that were seen are forgotten")
	}
}
