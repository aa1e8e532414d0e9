# Turns the output of `go test -bench` into the table of the figures that matter. Values of one run: compare ratios.
function value(unit,   i) { for (i = 3; i < NF; i++) if ($(i + 1) == unit) return $i; return "" }
function row(what, figure) { printf "%-78s %s\n", what, figure }
{ sub(/-[0-9]+$/, "", $1) }
/^Benchmark/ { allocs[$1] = value("allocs/op"); ns[$1] = value("ns/op"); worker[$1] = value("ns/event/worker"); cpu[$1] = value("cpu-ns/pkt"); pkt[$1] = value("ns/pkt"); msg[$1] = value("cpu-ns/msg"); p99[$1] = value("p99-ms"); refused[$1] = value("refused"); core[$1] = value("%core") }
/^BenchmarkConntrackRate/ { sessions[$1] = value("sessions/s") }
/^Benchmark(Beside)?Conntrack/ { ourCPU[$1] = value("pipelined-cpu-ns/event") }
/^BenchmarkBesideConntrack/ { conntrackCPU = value("conntrack-cpu-ns/event"); ulogdCPU = value("ulogd-cpu-ns/event") }
/^BenchmarkPlugin/ { rate[$1] = value("records/s") / 1e6; p50us[$1] = value("p50-ns") / 1000; p99us[$1] = value("p99-ns") / 1000 }
/FAIL/ { print; failed = 1 }
END {
  if (failed) exit 1
  r1 = worker["BenchmarkGateRefuse/workers=1"]; r2 = worker["BenchmarkGateRefuse/workers=2"]
  row("gate refusing (rate limited), one worker", r1 " ns per event, " allocs["BenchmarkGateRefuse/workers=1"] " allocations")
  row("gate refusing, two workers on one bucket, per worker", r2 " ns per event, " sprintf("%.2f", r2 / r1) " times one worker")
  row("gate admitting, encoding, publishing into one ring: one by one / in batches", ns["BenchmarkGateAdmit/batch=1"] " / " ns["BenchmarkGateAdmit/batch=64"] " ns per event, " allocs["BenchmarkGateAdmit/batch=64"] " allocations")
  row("admission to acknowledgement, batches, one worker / two", ns["BenchmarkGateEndToEnd/workers=1"] " / " ns["BenchmarkGateEndToEnd/workers=2"] " ns per event")
  row("packet path: decode, zone, session hit, 100 policies, 20 screens, 50 terms", ns["BenchmarkPacketPathHooks/flows=1024"] " ns per packet, " allocs["BenchmarkPacketPathHooks/flows=1024"] " allocations")
  bare = cpu["BenchmarkPacketPathXDP/bare"]; path = cpu["BenchmarkPacketPathXDP/pipeline"]
  if (bare > 0)
    row("the same on a veth over AF_XDP, CPU per packet; bare receive loop beside it", path " ns; " bare " ns, ratio " sprintf("%.2f", path / bare))
  bare = cpu["BenchmarkPacketPathAFPacket/bare"]; path = cpu["BenchmarkPacketPathAFPacket/pipeline"]
  if (bare > 0)
    row("the same on a veth over AF_PACKET, CPU per packet; bare receive loop beside it", path " ns; " bare " ns, ratio " sprintf("%.2f", path / bare))
  bare = cpu["BenchmarkPacketPathBridge/bare"]; path = cpu["BenchmarkPacketPathBridge/pipeline"]
  if (bare > 0)
    row("the same in a bridge, CPU per packet; bare forward loop beside it", path " ns; " bare " ns, " sprintf("%.2f of its rate", bare / path))
  beside = ourCPU["BenchmarkBesideConntrack"]
  if (beside > 0)
    row("conntrack to a file, CPU per event; conntrack(8); ulogd", sprintf("%.2f µs; %.2f µs, %.1f times; %.2f µs, %.1f times", beside / 1000, conntrackCPU / 1000, conntrackCPU / beside, ulogdCPU / 1000, ulogdCPU / beside))
  quick = "BenchmarkConntrackRate/answered=false"; whole = "BenchmarkConntrackRate/answered=true"
  if (ourCPU[quick] > 0)
    row("conntrack, sessions to a file as fast as the kernel forwards, 0 lost: answered; not", sprintf("%.0f per second, %.2f µs per event; %.0f, %.2f µs", sessions[whole], ourCPU[whole] / 1000, sessions[quick], ourCPU[quick] / 1000))
  f = ns["BenchmarkRFC5424SessionClose"]; l = ns["BenchmarkLibrarySessionClose"]
  row("RFC 5424 line of a session close", f " ns, " allocs["BenchmarkRFC5424SessionClose"] " allocations, " sprintf("%.0f", l / f) " times as fast as go-syslog's builder")
  row("RFC 3164 line of a session close", ns["BenchmarkRFC3164SessionClose"] " ns, " allocs["BenchmarkRFC3164SessionClose"] " allocations")
  row("JSON of a session close", ns["BenchmarkJSONSessionClose"] " ns")
  row("syslog over TCP, CPU per message of 650 bytes" against("BenchmarkRsyslogRelay", "rsyslogd relaying them"), us("BenchmarkSyslog/tcp") versus("BenchmarkSyslog/tcp", "BenchmarkRsyslogRelay"))
  row("syslog over TLS / RELP / UDP, the receiver in the same process", us("BenchmarkSyslog/tls") " / " us("BenchmarkSyslog/relp") " / " us("BenchmarkSyslog/udp"))
  row("file, CPU per message of 650 bytes" against("BenchmarkRsyslogFile", "rsyslogd, TCP to file"), us("BenchmarkFileSink/rfc5424/none") versus("BenchmarkFileSink/rfc5424/none", "BenchmarkRsyslogFile"))
  row("file, sync = interval / batch", us("BenchmarkFileSink/rfc5424/interval") " / " us("BenchmarkFileSink/rfc5424/batch"))
  row("nflog, a message of the kernel to an event; received, one / 32 packets per message", ns["BenchmarkNFLOGMessages"] " ns, " allocs["BenchmarkNFLOGMessages"] " allocations; CPU " us("BenchmarkNFLOGReceive/threshold=1") " / " us("BenchmarkNFLOGReceive/threshold=32"))
  row("nflog to file, CPU per record, the whole process" against("BenchmarkUlogdNFLOG", "ulogd, one line to file"), us("BenchmarkNFLOGFile") versus("BenchmarkNFLOGFile", "BenchmarkUlogdNFLOG"))
  row("session lookup: hit / hit, 262144 sessions at random / miss", ns["BenchmarkLookupHit"] " / " ns["BenchmarkLookupHitCold"] " / " ns["BenchmarkLookupMiss"] " ns")
  if (pkt["BenchmarkRead"] > 0)
    row("pipelined read, the shipped capture over and over, to a file", sprintf("%.2f million packets per second, %s per CPU second", 1000 / pkt["BenchmarkRead"], read_cpu()))
  bare = ns["BenchmarkStreamBare"]; ack = ns["BenchmarkStreamGateToAck"]
  row("event stream, gate to acknowledgement; bare pair of processes on a Unix socket", ack " ns per event, " allocs["BenchmarkStreamGateToAck"] " allocations; " bare " ns per frame, ratio " sprintf("%.2f", bare / ack))
  read = "BenchmarkStreamSessionLatency/ack=read"; slow = "BenchmarkStreamSessionLatency/ack=100ms"
  row("session record under a storm, p99 to acknowledgement: every read / every 100 ms", p99[read] " / " p99[slow] " ms, " refused[read] + refused[slow] " refused")
  row("sdk/eventstream receiving from memory, the copy of the producer included", ns["BenchmarkReceive"] " ns per record, " allocs["BenchmarkReceive"] " allocations")
  row("event stream, connected and idle, of one core", core["BenchmarkStreamIdle"] " %")
  plugin("with mTLS", "mtls"); plugin("without", "bare-socket")
  far = "BenchmarkPluginLatency/process"; near = "BenchmarkPluginLatency/inside"
  row("one record, to acknowledgement by a plugin: p50 / p99; by a sink inside", quantiles(far) " µs; " quantiles(near) " µs")
  row("one record, by another sink: alone; beside a plugin that is killed all the time", quantiles("BenchmarkPluginNeighbour/alone") " µs; " quantiles("BenchmarkPluginNeighbour/beside-kills") " µs")
}
function quantiles(b) { return sprintf("%.1f / %.1f", p50us[b], p99us[b]) }
function plugin(how, b,   ours, bare) {
  ours = rate["BenchmarkPluginRecords/" b]; bare = rate["BenchmarkPluginBare/" b]
  row("records through a plugin that counts, " how "; bare go-plugin stream beside it", sprintf("%.2f million/s; %.2f, ratio %.2f", ours, bare, bare > 0 ? ours / bare : 0))
}
function read_cpu() { return cpu["BenchmarkRead"] > 0 ? sprintf("%.2f million", 1000 / cpu["BenchmarkRead"]) : "?" }
function us(name) { return sprintf("%.2f µs", msg[name] / 1000) }
# Where the collectors are missing (make collectors) the comparison is left out.
function against(name, what) { return msg[name] > 0 ? "; " what : "" }
function versus(ours, theirs) { return msg[theirs] > 0 ? "; " us(theirs) ", " sprintf("%.1f", msg[theirs] / msg[ours]) " times" : "" }
