// Package logverify parses syslog strictly, and reports how messages differ from those of a Juniper SRX.
//
// It has tables of the RT_FLOW, RT_IDS and firewall-filter messages of each release,
// written down from the vendor's templates and lines of real devices. Of this project it imports helpers alone: the encoder
// (sdk/format) is checked against it.
package logverify
