// Package collectors runs real syslog collectors, rsyslogd and syslog-ng, for tests: in the foreground, with private
// configuration, files and ports, and gone with the test.
//
// They come from a folder that install.sh fills (make collectors). Without it tests are skipped, except where
// PIPELINED_REQUIRE_COLLECTORS=1 says that they must run.
//
// It does not know what a test configures them for.
package collectors
