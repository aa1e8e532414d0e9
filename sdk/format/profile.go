package format

import (
	"strconv"
	"strings"

	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/sdk/event"
)

// Names of the profiles: the Junos releases whose lines the syslog formats print. Each has the name of the releases of which
// there are samples; docs/formats.md says what is not verified.
const (
	Junos19 = "junos-19"    // session-id-32; without the parameters of proxies and VRF groups
	Junos20 = "junos-20-21" // session-id-32; the default
	Junos22 = "junos-22-24" // 22.2 and later, session-id
	Junos25 = "junos-25.4"  // and later; a close has 61 parameters
)

// Profiles lists the profiles.
func Profiles() []string { return []string{Junos19, Junos20, Junos22, Junos25} }

// profileHint returns a proposal for a name that is no profile, to be printed behind "unknown NAME; ": the profile of the
// release in the name, the one of the nearest spelling, or all profiles.
func profileHint(name string) string {
	if p := profileOfRelease(name); p != "" {
		return "did you mean " + strconv.Quote(p) + "?"
	}
	return spelling.Hint(name, "profiles", Profiles())
}

// profileOfRelease returns the profile of a release such as "junos-23", "22.4R1" or "25", "" if there is none.
func profileOfRelease(name string) string {
	name = strings.TrimLeft(strings.TrimPrefix(strings.ToLower(name), "junos"), "-_ ")
	digits := len(name) - len(strings.TrimLeft(name, "0123456789"))
	year, err := strconv.Atoi(name[:digits])
	switch {
	case err != nil, year < 19, year > 99:
		return ""
	case year == 19:
		return Junos19
	case year < 22:
		return Junos20
	case year < 25:
		return Junos22
	default:
		return Junos25
	}
}

// profile holds what differs between Junos releases. The tails are the parameters behind the last one that varies, up to
// the end of the element: mostly those that pipelined has no value for.
type profile struct {
	sessionID   string // ` name="`
	sessionMask uint64 // the bits of the session id that are printed
	closeReason func(event.CloseReason) string
	createTail  string // from behind the interface
	closeTail   string // from behind the interface
	denyTail    string // from behind the session id
	// The same for the plain form: from behind the interface, the interface, and the session id.
	plainCreate, plainClose, plainDeny string
	// synFlood holds the attack names of the floods counted by source and by destination: the older releases use one name
	// for all three, told apart by the tag.
	synFloodSrc, synFloodDst string
}

// Parameters without a value, in the order of the lines.
const (
	noAppID  = ` application="UNKNOWN" nested-application="UNKNOWN"`
	noUser   = ` username="N/A" roles="N/A"`
	noCrypto = ` encrypted="UNKNOWN"`
	category = ` application-category="N/A" application-sub-category="N/A"`
	risk20   = ` application-risk="1" application-characteristics="N/A"`
	risk22   = ` application-risk="-1" application-characteristics="N/A"`
	noProxy  = ` secure-web-proxy-session-type="NA" peer-session-id="0" peer-source-address="0.0.0.0" peer-source-port="0"` +
		` peer-destination-address="0.0.0.0" peer-destination-port="0" hostname="NA NA"`
	noVRF    = ` src-vrf-grp="N/A" dst-vrf-grp="N/A"`
	noTunnel = ` tunnel-inspection="Off" tunnel-inspection-policy-set="root"`
	noFlag   = ` session-flag="0"`
	noTenant = ` source-tenant="N/A" destination-service="N/A"`

	noUserType  = ` user-type="N/A"`
	noIdentity  = ` dst-identity-context-name="N/A" dst-identity-context-roles="N/A"`
	noCountry   = ` source-country="N/A" destination-country="N/A"`
	noGroupTag  = ` gbp-src-tag="0" gbp-dst-tag="0"`
	noForwarded = ` forwarded-for="N/A"`
	noURL       = ` url-host="N/A" url-cat="N/A" url-risk="0"`
	noVRFName   = ` src-vrf="N/A" dst-vrf="N/A"`
)

// The same values in the plain form.
const (
	plainAppID    = " UNKNOWN UNKNOWN"
	plainUser     = " N/A(N/A)"
	plainCrypto   = " UNKNOWN"
	plainCategory = " N/A N/A"
	plainRisk20   = " 1 N/A"
	plainRisk22   = " -1 N/A"
	plainProxy    = " NA 0 0.0.0.0/0->0.0.0.0/0 NA NA"
	plainVRF      = " N/A N/A"
	plainTunnel   = " Off root"
	plainFlag     = " 0"
	plainTenant   = " N/A N/A"

	plainUserType  = " N/A"
	plainIdentity  = " N/A N/A"
	plainCountry   = " N/A N/A"
	plainGroupTag  = " 0 0"
	plainForwarded = " N/A"
	plainURL       = " N/A N/A 0"
	plainVRFName   = " N/A N/A"
)

// The ends of what 22.2 prints, which later releases continue.
const (
	create22 = noAppID + noCrypto + category + risk22 + noVRF + noTunnel + noTenant
	close22  = noCrypto + category + risk22 + noProxy + noVRF + noTunnel + noFlag + noTenant
	deny22   = category + risk22 + noVRF + noTenant

	plainCreate22 = plainAppID + plainCrypto + plainCategory + plainRisk22 + plainVRF + plainTunnel + plainTenant
	plainClose22  = plainCrypto + plainCategory + plainRisk22 + plainProxy + plainVRF + plainTunnel + plainFlag + plainTenant
	plainDeny22   = plainCategory + plainRisk22 + plainVRF + plainTenant
)

func profileOf(name string) (*profile, bool) {
	old := profile{
		sessionID:   ` session-id-32="`,
		sessionMask: 1<<32 - 1,
		closeReason: closeReason20,
		synFloodSrc: "SYN flood!",
		synFloodDst: "SYN flood!",
	}
	current := profile{
		sessionID:   ` session-id="`,
		sessionMask: 1<<64 - 1,
		closeReason: closeReason,
		synFloodSrc: "SYN flood Src-IP based!",
		synFloodDst: "SYN flood Dst-IP based!",
	}
	switch name {
	case Junos19:
		p := old
		p.createTail = noAppID + noCrypto + category + risk20 + `]`
		p.closeTail = noCrypto + category + risk20 + `]`
		p.denyTail = `"` + category + risk20 + `]`
		p.plainCreate = plainAppID + plainCrypto + plainCategory + plainRisk20
		p.plainClose = plainCrypto + plainCategory + plainRisk20
		p.plainDeny = plainCategory + plainRisk20
		return &p, true
	case Junos20, "":
		p := old
		p.createTail = noAppID + noCrypto + category + risk20 + noVRF + `]`
		p.closeTail = noCrypto + category + risk20 + noProxy + noVRF + `]`
		p.denyTail = `"` + category + risk20 + noVRF + `]`
		p.plainCreate = plainAppID + plainCrypto + plainCategory + plainRisk20 + plainVRF
		p.plainClose = plainCrypto + plainCategory + plainRisk20 + plainProxy + plainVRF
		p.plainDeny = plainCategory + plainRisk20 + plainVRF
		return &p, true
	case Junos22:
		p := current
		p.createTail = create22 + `]`
		p.closeTail = close22 + `]`
		p.denyTail = `"` + deny22 + `]`
		p.plainCreate, p.plainClose, p.plainDeny = plainCreate22, plainClose22, plainDeny22
		return &p, true
	case Junos25:
		p := current
		p.createTail = create22 + noIdentity + noGroupTag + noForwarded + noVRFName + `]`
		p.closeTail = close22 + noUserType + noIdentity + noGroupTag + noForwarded + noURL + noVRFName + `]`
		p.denyTail = `"` + deny22 + noUserType + noIdentity + noCountry + noGroupTag + noForwarded + noURL + noVRFName + `]`
		p.plainCreate = plainCreate22 + plainIdentity + plainGroupTag + plainForwarded + plainVRFName
		p.plainClose = plainClose22 + plainUserType + plainIdentity + plainGroupTag + plainForwarded + plainURL + plainVRFName
		p.plainDeny = plainDeny22 + plainUserType + plainIdentity + plainCountry + plainGroupTag + plainForwarded + plainURL + plainVRFName
		return &p, true
	}
	return nil, false
}
