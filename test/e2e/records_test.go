package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// record is what the tests look at of a record of the sink "json".
type record struct {
	Event struct {
		Action, Reason string
		Sequence       uint64
	}
	Source, Destination recordEnd
	Network             struct {
		Number string `json:"iana_number"`
	}
	Rule     struct{ Name string }
	Observer struct {
		Ingress, Egress struct{ Zone string }
	}
	Pipelined struct {
		Lost map[string]uint64
	}
}

type recordEnd struct {
	IP             string
	Port           int
	Packets, Bytes int
	NAT            *struct {
		IP   string
		Port int
	}
}

// translated returns the end behind a translation, as a flow has it.
func (e *recordEnd) translated(ports bool) string {
	ip, port := e.IP, e.Port
	if e.NAT != nil {
		ip, port = e.NAT.IP, e.NAT.Port
	}
	if !ports {
		return ip
	}
	return fmt.Sprint(ip, " ", port)
}

// flow returns the flow that a record is about.
func (r *record) flow(t testing.TB) (f flow) {
	t.Helper()
	if _, err := fmt.Sscan(r.Network.Number, &f.protocol); err != nil {
		t.Fatalf("protocol %q: %v", r.Network.Number, err)
	}
	f.client, f.server = fmt.Sprint(r.Source.IP, " ", r.Source.Port), fmt.Sprint(r.Destination.IP, " ", r.Destination.Port)
	if icmp(f) {
		f.server = r.Destination.IP
	}
	if r.Source.NAT != nil || r.Destination.NAT != nil {
		f.translated = r.Source.translated(true) + " " + r.Destination.translated(!icmp(f))
	}
	f.fromClient, f.replies = traffic{r.Source.Packets, r.Source.Bytes}, traffic{r.Destination.Packets, r.Destination.Bytes}
	return f
}

// records returns what the sink "json" has written of those actions, in order; of every action if there are none.
func (d *daemon) records(actions ...string) (list []record) {
	d.t.Helper()
	d.readRecords()
	if len(actions) == 0 {
		return slices.Clone(d.read)
	}
	for i := range d.read {
		if slices.Contains(actions, d.read[i].Event.Action) {
			list = append(list, d.read[i])
		}
	}
	return list
}

// readRecords reads what the sink has written since the last call.
func (d *daemon) readRecords() {
	d.t.Helper()
	file, err := os.Open(filepath.Join(d.dir, "events.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	d.net.must(err)
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, d.readTo, math.MaxInt64-d.readTo))
	d.net.must(err)
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is being written
		}
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			d.t.Fatalf("%v: %s", err, line)
		}
		d.read, d.readTo = append(d.read, r), d.readTo+int64(len(line))
	}
}

// The actions of records.
const (
	opened, ended, denied, lost = "flow_started", "flow_close", "flow_deny", "events_lost"
)

// byKey returns records by the keys of their flows, and complains of two with one key.
func (d *daemon) byKey(list []record) map[string]record {
	d.t.Helper()
	found := make(map[string]record)
	for _, r := range list {
		key := r.flow(d.t).key()
		if _, twice := found[key]; twice {
			d.t.Errorf("two records %s of %s", r.Event.Action, key)
		}
		found[key] = r
	}
	return found
}

// sameKeys complains of keys that are in one of the maps only.
func sameKeys[A, B any](t *testing.T, what string, got map[string]A, want map[string]B) {
	t.Helper()
	for key := range want {
		if _, ok := got[key]; !ok {
			t.Errorf("%s: nothing of %s", what, key)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s: %s is too much", what, key)
		}
	}
}
