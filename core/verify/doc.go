// Package verify reads syslog as a collector does, strictly, and tells where a message deviates from what a Juniper SRX would
// have sent.
//
// What lives here: splitting a stream into messages, and the profiles of RT_FLOW, RT_IDS and firewall-filter messages as
// tables of their own, written down from the vendor's templates and lines of real devices. What never may: the encoder
// (sdk/format), which is checked against this, and anything else of ours.
package verify
