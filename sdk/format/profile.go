package format

import "github.com/rtflow/pipelined/sdk/event"

// profile is what differs between Junos releases. The tails are the parameters behind the last one that varies, up to the
// end of the element: mostly what this firewall has no value for.
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
)

func profileOf(name string) (*profile, bool) {
	switch name {
	case Junos20, "":
		return &profile{
			sessionID:   ` session-id-32="`,
			sessionMask: 1<<32 - 1,
			closeReason: closeReason20,
			createTail:  noAppID + noCrypto + category + risk20 + noVRF + `]`,
			closeTail:   noCrypto + category + risk20 + noProxy + noVRF + `]`,
			denyTail:    category + risk20 + noVRF + `]`,
			plainCreate: plainAppID + plainCrypto + plainCategory + plainRisk20 + plainVRF,
			plainClose:  plainCrypto + plainCategory + plainRisk20 + plainProxy + plainVRF,
			plainDeny:   plainCategory + plainRisk20 + plainVRF,
			synFloodSrc: "SYN flood!",
			synFloodDst: "SYN flood!",
		}, true
	case Junos22:
		return &profile{
			sessionID:   ` session-id="`,
			sessionMask: 1<<64 - 1,
			closeReason: closeReason,
			createTail:  noAppID + noCrypto + category + risk22 + noVRF + noTunnel + noTenant + `]`,
			closeTail:   noCrypto + category + risk22 + noProxy + noVRF + noTunnel + noFlag + noTenant + `]`,
			denyTail:    category + risk22 + noVRF + noTenant + `]`,
			plainCreate: plainAppID + plainCrypto + plainCategory + plainRisk22 + plainVRF + plainTunnel + plainTenant,
			plainClose:  plainCrypto + plainCategory + plainRisk22 + plainProxy + plainVRF + plainTunnel + plainFlag + plainTenant,
			plainDeny:   plainCategory + plainRisk22 + plainVRF + plainTenant,
			synFloodSrc: "SYN flood Src-IP based!",
			synFloodDst: "SYN flood Dst-IP based!",
		}, true
	}
	return nil, false
}
