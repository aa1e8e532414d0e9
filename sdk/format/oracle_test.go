package format_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/internal/logverify"
	"github.com/rtflow/pipelined/internal/rfc5424"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// cleaned is what a name becomes in every format, before its escapes: the rule of the package comment, written the slow way.
func cleaned(name, none string) string {
	if name == "" {
		return none
	}
	if len(name) > 128 {
		end := 128
		for end > 125 && !utf8.RuneStart(name[end]) {
			end--
		}
		name = name[:end]
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(string([]rune(name)), "\ufffd"))
}

func word(name string) string { return strings.ReplaceAll(cleaned(name, "N/A"), " ", "_") }

// FuzzLine checks that whatever a record and the names hold, the line is one line, a strict parser takes it, and the values
// it reads are those of the record.
func FuzzLine(f *testing.F) {
	for i, s := range samples() {
		f.Add(uint8(s.r.Kind()), s.r.Frame()[event.HeaderSize:], "trust", "web-out", "ge-0/0/0.0", uint8(i))
	}
	f.Add(uint8(0), []byte{}, "a\"b\\c]d", "\xff\xfe", "\n[x y=\"z\"]", uint8(3))
	f.Add(uint8(1), []byte{1}, strings.Repeat("ü", 100), strings.Repeat("\x80", 200), "]", uint8(4))
	f.Add(uint8(4), []byte{1}, "", "\\", "a b  c\u0085", uint8(6))
	f.Add(uint8(5), []byte{1}, "a b", "", "", uint8(0))
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte, zone, policy, iface string, variant uint8) {
		r := recordOf(t, event.Kind(kind%event.NumKinds), payload)
		n := &event.Names{
			Zones:        map[uint16]string{r.InZone(): zone, r.OutZone(): zone},
			Policies:     []string{policy, policy},
			Interfaces:   map[uint32]string{r.Interface(): iface},
			Applications: []string{"", policy},
		}
		profiles := format.Profiles()
		o := format.Options{Profile: profiles[int(variant/2)%len(profiles)]}
		numbered := variant%2 == 1
		if numbered {
			o.Sequence, o.Epoch = true, 99
			o.Priorities = map[event.Kind]format.Priority{r.Kind(): 191}
		}
		line, ok := strings.CutPrefix(string(newEncoder(t, o).Append([]byte("before"), r, n)), "before")
		if !ok {
			t.Fatal("what was in dst is gone")
		}
		checkLine(t, line, r, n, &o)
		if problems := logverify.NewChecker(logverify.Options{Profile: o.Profile, AnyPriority: numbered}).Check([]byte(line)); len(problems) > 0 {
			t.Errorf("%v in\n%s", problems, line)
		}

		checkPlain(t, string(newEncoder(t, format.Options{Format: format.RFC3164, Profile: o.Profile}).Append(nil, r, n)), r, n, o.Profile)

		checkShort(t, newEncoder(t, format.Options{Format: format.Text}).Append(nil, r, n))

		object := newEncoder(t, format.Options{Format: format.JSON}).Append(nil, r, n)
		checkJSON(t, object, r, n)

		o.Format, o.Envelope = format.JSON, true
		m := parse(t, string(newEncoder(t, o).Append(nil, r, n)), r, &o)
		if m.Message == nil || *m.Message != string(object) {
			t.Errorf("message %v, want %s", m.Message, object)
		}
		if m.MsgID == nil || *m.MsgID == "" {
			t.Errorf("no MSGID")
		}
	})
}

// recordOf makes a record of that kind with those bytes behind the header, as a frame from the wire would.
func recordOf(t *testing.T, k event.Kind, payload []byte) *event.Record {
	r := &event.Record{}
	r.Reset(k)
	frame := append([]byte{}, r.Frame()...)
	typ := frame[event.HeaderSize+52]
	copy(frame[event.HeaderSize:], payload)
	frame[event.HeaderSize+52] = typ
	if f := &frame[event.HeaderSize+55]; *f%2 == 0 {
		*f = event.FamilyIPv4
	} else {
		*f = event.FamilyIPv6
	}
	binary.LittleEndian.PutUint64(frame[8:], 7)
	if _, err := r.Decode(frame); err != nil {
		t.Fatal(err)
	}
	return r
}

// parse parses a line strictly and checks what every line has.
func parse(t *testing.T, line string, r *event.Record, o *format.Options) *rfc5424.Message {
	t.Helper()
	if strings.ContainsFunc(line, unicode.IsControl) {
		t.Fatalf("a control character in %q", line)
	}
	m, err := rfc5424.NewParser().Parse([]byte(line))
	if err != nil {
		t.Fatalf("%v in\n%s", err, line)
	}
	if *m.Hostname != "fw1" {
		t.Errorf("hostname %q", *m.Hostname)
	}
	want, ok := o.Priorities[r.Kind()]
	if !ok {
		want = format.DefaultPriority(r.Kind())
	}
	if *m.Priority != uint8(want) {
		t.Errorf("priority %d, want %d", *m.Priority, want)
	}
	switch ns := r.Time(); {
	case ns == 0 && m.Timestamp != nil:
		t.Errorf("time %v for a record without", m.Timestamp)
	case ns != 0 && (m.Timestamp == nil || m.Timestamp.UnixMilli() != floorMilli(ns)):
		t.Errorf("time %v, want Unix ms %d", m.Timestamp, floorMilli(ns))
	}
	if o.Sequence {
		want := map[string]string{"epoch": "99", "sequence": "7"}
		if diff := cmp.Diff(want, (*m.StructuredData)[format.SequenceID]); diff != "" {
			t.Errorf("sequence element (-want +got):\n%s", diff)
		}
	}
	return m
}

func checkLine(t *testing.T, line string, r *event.Record, n *event.Names, o *format.Options) {
	t.Helper()
	m := parse(t, line, r, o)
	if r.Kind() == event.FilterLog || r.Kind() == event.Loss {
		if m.StructuredData != nil && !o.Sequence {
			t.Errorf("structured data %v", *m.StructuredData)
		}
		if want := wantText(r, n); *m.Message != want {
			t.Errorf("text %q, want %q", *m.Message, want)
		}
		return
	}
	if m.Message != nil {
		t.Errorf("text %q behind the structured data", *m.Message)
	}
	got := (*m.StructuredData)["junos@2636.1.1.1.2.129"]
	for name, want := range wantParams(r, n, o.Profile) {
		if got[name] != want {
			t.Errorf("%s = %q, want %q in\n%s", name, got[name], want, line)
		}
	}
}

// checkPlain checks that the plain line is one line with the header of RFC 3164, and has the values of the record.
func checkPlain(t *testing.T, line string, r *event.Record, n *event.Names, profile string) {
	t.Helper()
	if strings.ContainsFunc(line, unicode.IsControl) {
		t.Fatalf("a control character in %q", line)
	}
	head := fmt.Sprintf("<%d>%s fw1 ", format.DefaultPriority(r.Kind()), time.Unix(0, r.Time()).UTC().Format(time.Stamp))
	text, ok := strings.CutPrefix(line, head)
	if !ok {
		t.Fatalf("the line does not begin with %q:\n%s", head, line)
	}
	none := func(name string) string { return strings.ReplaceAll(cleaned(name, "None"), " ", "_") }
	flow := fmt.Sprintf("%v/%d->%v/%d 0x0 %s ", r.Src(), r.SrcPort(), r.Dst(), r.DstPort(), none(n.Application(r.Application())))
	path := fmt.Sprintf("%s %s %s", word(n.Policy(r.Policy())), word(n.Zone(r.InZone())), word(n.Zone(r.OutZone())))
	id := num(r.SessionID())
	if isOld(profile) {
		id = num(uint32(r.SessionID()))
	}
	iface := " N/A(N/A) " + word(n.Interface(r.Interface())) + " "
	var parts []string
	switch r.Kind() {
	case event.FilterLog:
		parts = []string{wantText(r, n)}
	case event.Loss:
		parts = []string{"pipelined: LOSS: " + wantText(r, n)}
	case event.SessionOpen:
		parts = []string{"RT_FLOW: RT_FLOW_SESSION_CREATE: session created " + flow, path + " " + id + iface}
	case event.SessionClose:
		parts = []string{"RT_FLOW: RT_FLOW_SESSION_CLOSE: session closed ", ": " + flow, path + " " + id, fmt.Sprintf(" %d(%d) %d(%d) %d ",
			r.ClientPackets(), r.ClientBytes(), r.ServerPackets(), r.ServerBytes(), min(r.Elapsed(), 1<<31-1)), iface}
	case event.PolicyDeny:
		parts = []string{"RT_FLOW: RT_FLOW_SESSION_DENY: session denied " + flow, path, iface, " by policy " + id + " "}
	default:
		parts = []string{"RT_IDS: RT_SCREEN_", ": ", " zone name: " + word(n.Zone(r.InZone())) + ", interface name: " +
			word(n.Interface(r.Interface())) + ", action: "}
	}
	for i, part := range parts {
		at := strings.Index(text, part)
		if at < 0 || i == 0 && at > 0 {
			t.Fatalf("no %q at its place in\n%s", part, line)
		}
		text = text[at+len(part):]
	}
}

func floorMilli(ns int64) int64 {
	if ms := ns / 1e6; ns%1e6 >= 0 {
		return ms
	} else {
		return ms - 1
	}
}

func num[T uint8 | uint16 | uint32 | uint64](v T) string { return strconv.FormatUint(uint64(v), 10) }

func wantParams(r *event.Record, n *event.Names, profile string) map[string]string {
	want := map[string]string{"source-zone-name": cleaned(n.Zone(r.InZone()), "N/A")}
	if r.Kind() == event.ScreenDrop {
		want["interface-name"] = cleaned(n.Interface(r.Interface()), "N/A")
		want["action"] = "drop"
		if r.Action() == event.ActionPermit {
			want["action"] = "alarm-without-drop"
		}
		return want
	}
	want["source-address"], want["destination-address"] = r.Src().String(), r.Dst().String()
	want["source-port"], want["destination-port"] = num(r.SrcPort()), num(r.DstPort())
	want["protocol-id"] = num(r.Proto())
	want["service-name"] = cleaned(n.Application(r.Application()), "None")
	want["policy-name"] = cleaned(n.Policy(r.Policy()), "N/A")
	want["destination-zone-name"] = cleaned(n.Zone(r.OutZone()), "N/A")
	want["packet-incoming-interface"] = cleaned(n.Interface(r.Interface()), "N/A")
	if isOld(profile) {
		want["session-id-32"] = num(uint32(r.SessionID()))
	} else {
		want["session-id"] = num(r.SessionID())
	}
	if r.Kind() == event.PolicyDeny {
		return want
	}
	want["nat-source-address"], want["nat-source-port"] = want["source-address"], want["source-port"]
	if nat, ok := r.NATSrc(); ok {
		want["nat-source-address"], want["nat-source-port"] = nat.Addr().String(), num(nat.Port())
	}
	want["nat-destination-address"], want["nat-destination-port"] = want["destination-address"], want["destination-port"]
	if nat, ok := r.NATDst(); ok {
		want["nat-destination-address"], want["nat-destination-port"] = nat.Addr().String(), num(nat.Port())
	}
	if r.Kind() == event.SessionClose {
		want["packets-from-client"], want["bytes-from-client"] = num(r.ClientPackets()), num(r.ClientBytes())
		want["packets-from-server"], want["bytes-from-server"] = num(r.ServerPackets()), num(r.ServerBytes())
		want["elapsed-time"] = num(min(r.Elapsed(), 1<<31-1))
	}
	return want
}

func wantText(r *event.Record, n *event.Names) string {
	if r.Kind() == event.Loss {
		text := "events lost: reason=" + r.LossReason().String()
		if r.InZone() != 0 {
			text += " zone=" + word(n.Zone(r.InZone()))
		}
		text += " since="
		if r.LossSince() == 0 {
			text += "-"
		} else {
			text += timeText(r.LossSince())
		}
		for k, lost := range r.LossCounts() {
			if lost != 0 {
				text += fmt.Sprintf(" %v=%d", event.Kind(k), lost)
			}
		}
		return text
	}
	action := map[event.Action]string{event.ActionPermit: "A", event.ActionReject: "R"}[r.Action()]
	if action == "" {
		action = "D"
	}
	proto, ok := map[uint8]string{
		1: "icmp", 2: "igmp", 4: "ipip", 6: "tcp", 8: "egp", 17: "udp", 46: "rsvp", 47: "gre", 50: "esp", 51: "ah",
		58: "icmp6", 89: "ospf", 103: "pim", 112: "vrrp", 132: "sctp",
	}[r.Proto()]
	if !ok {
		proto = num(r.Proto())
	}
	var src, dst uint16
	switch proto {
	case "tcp", "udp", "sctp":
		src, dst = r.SrcPort(), r.DstPort()
	case "icmp", "icmp6":
		src, dst = uint16(r.ICMPType()), uint16(r.ICMPCode())
	}
	return fmt.Sprintf("fpc0 PFE_FW_SYSLOG_IP: FW: %s %s %s %v %v %d %d (1 packets)",
		word(n.Interface(r.Interface())), action, proto, r.Src(), r.Dst(), src, dst)
}

// object is what readers of the JSON look for.
type object struct {
	Time  string `json:"@timestamp"`
	Event struct {
		Kind, Action, Outcome, Reason, Start, End string
		Category, Type                            []string
		Duration, Sequence                        uint64
	}
	Source, Destination, Client, Server flowEnd
	Related                             struct{ IP []string }
	Network                             struct {
		Transport, Type string
		Number          string `json:"iana_number"`
		Bytes, Packets  uint64
	}
	Observer struct {
		Hostname, Type  string
		Vendor, Product string
		Ingress, Egress struct {
			Zone      string
			Interface struct{ Name string }
		}
	}
	Rule    struct{ Name, Ruleset string }
	Juniper struct {
		SRX struct {
			Process, Tag, Action string
			Service              string `json:"service_name"`
			Session              string `json:"session_id"`
			Attack               string `json:"attack_name"`
			ICMPType             string `json:"icmp_type"`
			ICMPCode             string `json:"icmp_code"`
		}
	}
	Pipelined struct{ Lost map[string]uint64 }
}

type flowEnd struct {
	IP             string
	Port           uint16
	Bytes, Packets uint64
	NAT            struct {
		IP   string
		Port uint16
	}
}

func checkJSON(t *testing.T, raw []byte, r *event.Record, n *event.Names) {
	t.Helper()
	var o object
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	if d.More() || strings.ContainsFunc(string(raw), unicode.IsControl) {
		t.Fatalf("more than one object, or a control character, in %q", raw)
	}
	type view struct {
		Time, Src, Dst, Zone, Interface, Hostname string
		Sequence                                  uint64
		Lost                                      map[string]uint64
	}
	got := view{o.Time, o.Source.IP, o.Destination.IP, o.Observer.Ingress.Zone, o.Observer.Ingress.Interface.Name,
		o.Observer.Hostname, o.Event.Sequence, o.Pipelined.Lost}
	want := view{Zone: cleaned(n.Zone(r.InZone()), ""), Hostname: "fw1", Sequence: 7}
	if r.Time() != 0 {
		want.Time = timeText(r.Time())
	}
	if r.Kind() == event.Loss {
		c := r.LossCounts()
		want.Lost = map[string]uint64{"total": c.Total()}
		for k, lost := range c {
			if lost != 0 {
				want.Lost[event.Kind(k).String()] = lost
			}
		}
	} else {
		want.Src, want.Dst = r.Src().String(), r.Dst().String()
		want.Interface = cleaned(n.Interface(r.Interface()), "")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if o.Client != o.Source || o.Server != o.Destination || o.Observer.Vendor != "Juniper" || o.Observer.Product != "SRX" {
		t.Errorf("client, server or observer in\n%s", raw)
	}
	var related []string
	for _, ip := range []string{o.Source.IP, o.Destination.IP, o.Source.NAT.IP, o.Destination.NAT.IP} {
		if ip != "" && !slices.Contains(related, ip) {
			related = append(related, ip)
		}
	}
	if diff := cmp.Diff(related, o.Related.IP); diff != "" {
		t.Errorf("related.ip (-want +got):\n%s", diff)
	}
	switch r.Kind() {
	case event.SessionOpen, event.SessionClose, event.PolicyDeny:
		if want := cleaned(n.Policy(r.Policy()), ""); o.Rule.Name != want {
			t.Errorf("rule %q, want %q", o.Rule.Name, want)
		}
		if want := num(r.SessionID()); o.Juniper.SRX.Session != want {
			t.Errorf("session %q, want %q", o.Juniper.SRX.Session, want)
		}
	}
	if r.Kind() == event.SessionClose && (o.Source.Bytes != r.ClientBytes() || o.Destination.Packets != r.ServerPackets()) {
		t.Errorf("counters %d and %d, want %d and %d", o.Source.Bytes, o.Destination.Packets, r.ClientBytes(), r.ServerPackets())
	}
}
