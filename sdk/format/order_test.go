package format_test

import (
	"net/netip"
	"regexp"
	"strconv"
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

// TestEnds has sessions between addresses of all lengths, translated at either end, at both and not at all: each end has its own address
// and port in the line, and an end that is not translated has them twice.
func TestEnds(t *testing.T) {
	e := newEncoder(t, format.Options{})
	param := func(line, name string) string {
		_, rest, _ := strings.Cut(line, " "+name+`="`)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	var list []netip.Addr
	for _, a := range []string{"1.2.3.4", "100.200.100.200", "::", "2001:db8::1", "2001:db8:1::1", "2001:db8:1:2::1", "2001:db8:12:2::1", "2001:db8:12:22::1"} {
		list = append(list, netip.MustParseAddr(a))
	}
	for n := range 16 { // of up to 39 characters, one more at a time
		a := [16]byte{0: 0x20, 1: 1, 3: 1, 5: 1, 7: 1, 9: 1, 11: 1, 13: 1, 15: 1}
		for i := range n {
			a[15-i] |= 0x11
		}
		list = append(list, netip.AddrFrom16(a))
	}
	fields := func(a netip.Addr) (b [16]byte) { copy(b[:], a.AsSlice()); return b }
	for i, src := range list {
		for _, dst := range list {
			if src.Is4() != dst.Is4() {
				continue
			}
			for ends := range 4 {
				wantSrc, wantDst := netip.AddrPortFrom(src, uint16(7*i)), netip.AddrPortFrom(dst, 65535-uint16(i))
				var r event.Record
				r.Reset(event.SessionOpen)
				family, proto := uint8(event.FamilyIPv6), uint8(6)
				natSrc, natDst := netip.MustParseAddr("2001:db8:ff::1"), netip.MustParseAddr("2001:db8:ff::2")
				if src.Is4() {
					family, natSrc, natDst = event.FamilyIPv4, netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")
				}
				from, to := fields(src), fields(dst)
				r.SetFlow(family, proto, &from, &to, wantSrc.Port(), wantDst.Port())
				var a, b [16]byte
				if ends&1 != 0 {
					a, wantSrc = fields(natSrc), netip.AddrPortFrom(natSrc, 1000)
				}
				if ends&2 != 0 {
					b, wantDst = fields(natDst), netip.AddrPortFrom(natDst, 2000)
				}
				r.SetNAT(&a, &b, 1000, 2000)
				line := string(e.Append(nil, &r, nil))
				for name, want := range map[string]string{
					"source-address": src.String(), "source-port": strconv.Itoa(7 * i),
					"destination-address": dst.String(), "destination-port": strconv.Itoa(65535 - i),
					"nat-source-address": wantSrc.Addr().String(), "nat-source-port": strconv.Itoa(int(wantSrc.Port())),
					"nat-destination-address": wantDst.Addr().String(), "nat-destination-port": strconv.Itoa(int(wantDst.Port())),
				} {
					if got := param(line, name); got != want {
						t.Fatalf("translated ends %02b: %s is %q, want %q: %s", ends, name, got, want, line)
					}
				}
			}
		}
	}
}

// TestUnknownCloseReasons has every value that a record can hold as the reason: those that are none are printed like no reason.
func TestUnknownCloseReasons(t *testing.T) {
	for _, profile := range format.Profiles() {
		e := newEncoder(t, format.Options{Profile: profile})
		line := func(why int) string {
			var r event.Record
			r.Reset(event.SessionClose)
			r.SetClose(1, 2, 3, 4, 5, event.CloseReason(why))
			return string(e.Append(nil, &r, nil))
		}
		for why := int(event.CloseICMPError) + 1; why < 256; why++ {
			if got, want := line(why), line(int(event.CloseNone)); got != want {
				t.Fatalf("%s, reason %d: %s, want %s", profile, why, got, want)
			}
		}
	}
}
