package format_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// The order of the parameters, which readers compare byte for byte, as the System Log Explorer's templates and complete
// lines of real devices have it. SID stands for the session id.
const (
	blockA = "source-address source-port destination-address destination-port connection-tag service-name " +
		"nat-source-address nat-source-port nat-destination-address nat-destination-port nat-connection-tag " +
		"src-nat-rule-type src-nat-rule-name dst-nat-rule-type dst-nat-rule-name protocol-id policy-name " +
		"source-zone-name destination-zone-name SID "
	blockB = "application-category application-sub-category application-risk application-characteristics "
	vrf    = "src-vrf-grp dst-vrf-grp "

	create19 = blockA + "username roles packet-incoming-interface application nested-application encrypted " + blockB
	create20 = create19 + vrf
	create22 = create20 + "tunnel-inspection tunnel-inspection-policy-set source-tenant destination-service "
	create25 = create22 + "dst-identity-context-name dst-identity-context-roles gbp-src-tag gbp-dst-tag forwarded-for " +
		"src-vrf dst-vrf"
	close19 = "reason " + blockA + "packets-from-client bytes-from-client packets-from-server bytes-from-server elapsed-time " +
		"application nested-application username roles packet-incoming-interface encrypted " + blockB
	close20 = close19 + "secure-web-proxy-session-type peer-session-id peer-source-address peer-source-port peer-destination-address " +
		"peer-destination-port hostname " + vrf
	close22 = close20 + "tunnel-inspection tunnel-inspection-policy-set session-flag source-tenant destination-service "
	close25 = close22 + "user-type dst-identity-context-name dst-identity-context-roles gbp-src-tag gbp-dst-tag forwarded-for " +
		"url-host url-cat url-risk src-vrf dst-vrf"
	deny19 = "source-address source-port destination-address destination-port connection-tag service-name protocol-id " +
		"icmp-type policy-name source-zone-name destination-zone-name application nested-application username roles " +
		"packet-incoming-interface encrypted reason SID " + blockB
	deny20 = deny19 + vrf
	deny22 = deny20 + "source-tenant destination-service "
	deny25 = deny22 + "user-type dst-identity-context-name dst-identity-context-roles source-country destination-country " +
		"gbp-src-tag gbp-dst-tag forwarded-for url-host url-cat url-risk src-vrf dst-vrf"

	screenEnd = "source-zone-name interface-name action"
)

var paramName = regexp.MustCompile(` ([a-z0-9-]+)="`)

func paramNames(line string) (names []string) {
	for _, m := range paramName.FindAllStringSubmatch(line, -1) {
		names = append(names, m[1])
	}
	return names
}

// isOld reports whether a profile has session ids of 32 bits.
func isOld(profile string) bool { return profile == format.Junos19 || profile == format.Junos20 }

func TestSessionParameterOrder(t *testing.T) {
	for _, c := range []struct {
		profile string
		kind    event.Kind
		order   string
		count   int
	}{
		{format.Junos19, event.SessionOpen, create19, 30},
		{format.Junos20, event.SessionOpen, create20, 32},
		{format.Junos22, event.SessionOpen, create22, 36},
		{format.Junos25, event.SessionOpen, create25, 43},
		{format.Junos19, event.SessionClose, close19, 36},
		{format.Junos20, event.SessionClose, close20, 45},
		{format.Junos22, event.SessionClose, close22, 50},
		{format.Junos25, event.SessionClose, close25, 61},
		{format.Junos19, event.PolicyDeny, deny19, 23},
		{format.Junos20, event.PolicyDeny, deny20, 25},
		{format.Junos22, event.PolicyDeny, deny22, 27},
		{format.Junos25, event.PolicyDeny, deny25, 40},
	} {
		e := newEncoder(t, format.Options{Profile: c.profile})
		sid := "session-id"
		if isOld(c.profile) {
			sid = "session-id-32"
		}
		want := strings.Fields(strings.ReplaceAll(c.order, "SID", sid))
		if len(want) != c.count {
			t.Fatalf("%s %v: the list has %d parameters, the template %d", c.profile, c.kind, len(want), c.count)
		}
		for _, s := range samples() {
			if s.r.Kind() != c.kind {
				continue
			}
			if diff := cmp.Diff(want, paramNames(string(e.Append(nil, s.r, names())))); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", c.profile, s.name, diff)
			}
		}
	}
}

func TestScreenParameterOrder(t *testing.T) {
	orders := map[string]string{
		"RT_SCREEN_TCP":        "attack-name source-address source-port destination-address destination-port " + screenEnd,
		"RT_SCREEN_UDP":        "attack-name source-address source-port destination-address destination-port " + screenEnd,
		"RT_SCREEN_ICMP":       "attack-name source-address destination-address " + screenEnd,
		"RT_SCREEN_IP":         "attack-name source-address destination-address protocol-id " + screenEnd,
		"RT_SCREEN_TCP_SRC_IP": "attack-name source-address " + screenEnd,
		"RT_SCREEN_TCP_DST_IP": "attack-name destination-address " + screenEnd,
	}
	e := newEncoder(t, format.Options{})
	seen := map[string]bool{}
	for _, s := range samples() {
		if s.r.Kind() != event.ScreenDrop {
			continue
		}
		line := string(e.Append(nil, s.r, names()))
		tag := strings.Fields(line)[5]
		seen[tag] = true
		order, ok := orders[tag]
		switch s.r.Screen() {
		case event.ScreenSessionLimitSrc:
			order, ok = "attack-name source-address "+screenEnd, tag == "RT_SCREEN_SESSION_LIMIT"
		case event.ScreenSessionLimitDst:
			order, ok = "attack-name destination-address "+screenEnd, tag == "RT_SCREEN_SESSION_LIMIT"
		}
		if !ok {
			t.Errorf("%s: tag %s", s.name, tag)
		}
		if diff := cmp.Diff(strings.Fields(order), paramNames(line)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.name, diff)
		}
	}
	if len(seen) != len(orders)+1 {
		t.Errorf("only the tags %v were seen", seen)
	}
}
