# Turns the output of several runs of the benchmarks of growth into a table on standard output, and a plot into the file SVG
# (-v svg=FILE). A figure is the median of the runs.
{ sub(/-[0-9]+$/, "", $1) }
/^Benchmark(Growth|PacketPathSessions)/ { for (i = 3; i < NF; i++) if ($(i + 1) ~ /^cpu-ns\//) { runs[$1] = runs[$1] " " $i } }
/^BenchmarkGateAdmit/ { for (i = 3; i < NF; i++) if ($(i + 1) == "ns/op") { runs[$1] = runs[$1] " " $i } }
/^BenchmarkGateRefuse/ { for (i = 3; i < NF; i++) if ($(i + 1) == "ns/event/worker") { runs[$1] = runs[$1] " " $i } }
/FAIL/ { print; failed = 1 }
END {
  if (failed) exit 1
  title["first"] = "first packet of a flow, permitted"; title["skewed"] = "the same, most of them of few policies"
  title["denied"] = "first packet of a flow, denied"; title["unnamed"] = "the same, no policy names the service"
  title["again"] = "the same flow denied again"; title["session"] = "packet of a session"
  order = split("first skewed denied unnamed again session", series, " ")
  printf "%-48s", "CPU ns per packet, policies:"
  for (n = 10; n <= 100000; n *= 10) printf "%9d", n
  print ""
  for (s = 1; s <= order; s++) {
    printf "%-48s", "  " title[series[s]]
    for (n = 10; n <= 100000; n *= 10) printf "%9s", show("Policies/" series[s] "/" n)
    print ""
  }
  if (median("Nftables/none/first/10")) {
    printf "%s\n", "CPU ns per packet that rules of nftables add to what a router without rules takes:"
    nft("first packet of a flow, permitted, a chain", "chain/first"); nft("first packet of a flow, denied, a chain", "chain/denied")
    nft("first packet of a flow, permitted, a map", "map/first"); nft("first packet of a flow, denied, a map", "map/denied")
  }
  split("2 10 100 1000 4000", vlans, " ")
  printf "%-48s", "CPU ns per packet, VLANs of one interface:"
  for (v = 1; v <= 5; v++) printf "%9d", vlans[v]
  printf "\n%-48s", "  packet of a session"
  for (v = 1; v <= 5; v++) printf "%9s", show("VLANs/" vlans[v])
  print ""
  split("bare 1 2 4", sinks, " ")
  printf "%-48s", "CPU ns per event, sinks of one format:"
  for (v = 1; v <= 4; v++) printf "%9s", sinks[v]
  print ""
  sinkrow("/dev/null", "null"); sinkrow("files", "file"); sinkrow("syslog over TCP", "tcp")
  print ""
  ratio("first packet, 100,000 policies against 100", "Policies/first/100000", "Policies/first/100", 2.0)
  ratio("denied packet, 100,000 policies against 100", "Policies/denied/100000", "Policies/denied/100", 2.0)
  ratio("the same flow denied again against a session, 100,000", "Policies/again/100000", "Policies/session/100000", 1.3)
  ratio("4,000 VLANs against 2", "VLANs/4000", "VLANs/2", 1.2)
  ratio("packet of a random one of a million sessions against a thousand", "PacketPathSessions/sessions=1048576", "PacketPathSessions/sessions=1024", 2.5)
  one = median("Workers/1"); two = median("Workers/2")
  if (one && two) printf "%-66s %5.2f times, at least 0.9\n", "two workers against one, packets per CPU second", one / two
  admit = median("GateAdmit/batch=1"); refuse = median("GateRefuse/workers=1")
  if (admit && refuse) printf "%-66s %5.0f ns, at most 90 where a refusal is 7; a refusal is %.1f\n", "gate, one event at a time, admitted to released", admit, refuse
  further("sink to /dev/null", "null"); further("file", "file"); further("TCP syslog", "tcp")
  if (svg) plot()
}

# median returns the median of the runs of a benchmark, 0 if there are none.
function median(name,   v, n, i, j, t) {
  n = split(("BenchmarkGrowth" name) in runs ? runs["BenchmarkGrowth" name] : runs["Benchmark" name], v, " ")
  for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j - 1] + 0 > v[j] + 0; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
  return n ? (v[int((n + 1) / 2)] + v[int(n / 2) + 1]) / 2 : 0
}
function show(name,   m) { m = median(name); return m ? sprintf("%.0f", m) : "-" }
function ratio(what, a, b, most,   x, y) {
  x = median(a); y = median(b)
  if (x && y) printf "%-66s %5.2f times, at most %.1f\n", what, x / y, most
}

# nft prints what rules of nftables add to forwarding without rules.
function nft(title, name,   n) {
  printf "%-48s", "  " title
  for (n = 10; n <= 10000; n *= 10) printf "%9s", added(name, n) ? sprintf("%.0f", added(name, n)) : "-"
  printf "%9s\n", "-"
}
function added(name, n,   x, kind) {
  kind = name; sub(/.*\//, "", kind)
  x = median("Nftables/" name "/" n)
  return x ? x - median("Nftables/none/" kind "/" n) : 0
}

function sinkrow(title, name) {
  printf "%-48s", "  " title
  for (v = 1; v <= 4; v++) printf "%9s", show("Sinks/" name "/" sinks[v])
  print ""
}
# further prints what each of three more sinks adds to one.
function further(title, name,   one, four) {
  one = median("Sinks/" name "/1"); four = median("Sinks/" name "/4")
  if (one && four)
    printf "%-66s %5.0f ns, at most 100; %.0f of them for writing the bytes\n", "per further " title " of the same format, CPU per event", (four - one) / 3, median("Sinks/" name "/bare")
}

# plot draws the figures of policies and VLANs: decades of things from left to right, nanoseconds upwards, both logarithmic.
function plot(   s, n, v, y, points) {
  split("#c0392b #e74c3c #e67e22 #f1c40f #2980b9 #27ae60 #8e44ad #7f8c8d #2c3e50", colour, " ")
  print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 700 400\" font-family=\"sans-serif\" font-size=\"12\">" > svg
  print "<rect width=\"700\" height=\"400\" fill=\"white\"/>" > svg
  print "<text x=\"60\" y=\"20\" font-size=\"14\">CPU time per packet (ns) by number of policies or VLANs</text>" > svg
  for (n = 1; n <= 100000; n *= 10)
    printf "<path d=\"M%.1f 40V340\" stroke=\"#ddd\"/><text x=\"%.1f\" y=\"356\" text-anchor=\"middle\">%d</text>\n", px(n), px(n), n > svg
  for (y = 10; y <= 1000000; y *= 10)
    printf "<path d=\"M60 %.1fH400\" stroke=\"#ddd\"/><text x=\"54\" y=\"%.1f\" text-anchor=\"end\">%d</text>\n", py(y), py(y) + 4, y > svg
  for (s = 1; s <= order; s++) {
    points = ""
    for (n = 10; n <= 100000; n *= 10) points = points point(n, median("Policies/" series[s] "/" n))
    line(s, title[series[s]], points)
  }
  points = ""
  for (v = 1; v <= 5; v++) points = points point(vlans[v], median("VLANs/" vlans[v]))
  line(order + 1, "packet of a session, by VLANs", points)
  rules(order + 2, "nftables, a map: permitted", "map/first")
  rules(order + 3, "nftables, a chain of rules: permitted", "chain/first")
  print "</svg>" > svg
  close(svg)
}
function rules(i, what, name,   n, points) {
  for (n = 10; n <= 10000; n *= 10) points = points point(n, added(name, n))
  line(i, what, points)
}
function px(n) { return 60 + 68 * log(n) / log(10) }
function py(ns) { return 340 - 60 * (log(ns) / log(10) - 1) }
function point(n, ns) { return ns > 0 ? sprintf("%.1f,%.1f ", px(n), py(ns)) : "" }
function line(i, what, points) {
  if (points !~ /[0-9]/) return
  printf "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"%s\"/>\n", colour[i], points > svg
  printf "<rect x=\"416\" y=\"%d\" width=\"12\" height=\"3\" fill=\"%s\"/><text x=\"434\" y=\"%d\">%s</text>\n", 38 + 22 * i, colour[i], 44 + 22 * i, what > svg
}
