// Package logverify reads syslog as a collector does, strictly, and tells where a message deviates from what a Juniper SRX would
// have sent.
//
// It splits a stream into messages, and has the RT_FLOW, RT_IDS and firewall-filter messages of each release as tables of its
// own, written down from the vendor's templates and lines of real devices. It imports nothing of this project: the encoder
// (sdk/format) is checked against it.
package logverify
