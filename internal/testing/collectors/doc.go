// Package collectors runs the syslog collectors rsyslogd and syslog-ng, and the netfilter logger ulogd, for tests, and finds Prometheus'
// promtool.
//
// The daemons run in the foreground, with configuration, files and ports of their own, and are stopped at the end of the test. All
// come from a folder that install.sh fills (make collectors). Without it tests are skipped, or fail if
// PIPELINED_REQUIRE_COLLECTORS=1.
package collectors
