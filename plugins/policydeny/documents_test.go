package policydeny

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

//go:embed README.md
var readme string

func TestSampleLoads(t *testing.T) {
	x := load(t, Plugin().Sample)
	if x.Session == nil || x.Counters == nil {
		t.Error("the hook is not complete")
	}
	if got := x.decide(web()); got.Policy != "web-out" {
		t.Errorf("the sample's first policy does not match its clients: %+v", got)
	}
}

// TestReadmeLoads loads every TOML text of the page.
func TestReadmeLoads(t *testing.T) {
	snippets := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(readme, -1)
	if len(snippets) == 0 {
		t.Fatal("the page has no example")
	}
	for i, s := range snippets {
		t.Run(fmt.Sprint(i), func(t *testing.T) { load(t, s[1]) })
	}
}

// TestReadmeNamesEveryKey: what the hook reads is on its page and in its sample.
func TestReadmeNamesEveryKey(t *testing.T) {
	for _, key := range []string{
		"default", "log-default", "policy", "addresses", "applications", "name", "from", "to", "source", "source-excluded",
		"destination", "destination-excluded", "application", "then", "log", "timeout", "enabled", "protocol", "source-port",
		"destination-port", "icmp-type", "icmp-code", "inactivity-timeout", "term", "members",
	} {
		if !strings.Contains(readme, "`"+key+"`") {
			t.Errorf("the page does not name %q", key)
		}
	}
}
