package control

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// Comment begins a line among events that is none: what was left out, and what is odd about the request.
const Comment = "# "

// stall is how long a peer may take nothing of what it looks at: longer than somebody stops a terminal, and not for ever.
const stall = 10 * time.Minute

// chunk is how many bytes of events are written at once, but for those of the last event.
const chunk = 32 << 10

// Events is what events are shown with.
type Events struct {
	Tail     *tail.Tail
	Names    func(generation uint32) *event.Names // of the records of a generation
	Latest   func() *event.Names                  // every name that there is
	Hostname func() string                        // of log lines, as it is now
}

// events answers GET /events: a line per event, as they are admitted. Its parameters are those of [EventQuery].
func (e *Events) events(w http.ResponseWriter, r *http.Request) {
	filter, notes, err := ReadFilter(r.URL.Query(), e.Latest())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	encoder, err := e.encoder(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	watcher, err := e.Tail.Watch()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer watcher.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	var buf []byte
	for _, note := range notes {
		buf = append(buf, Comment+note+"\n"...)
	}
	names := e.Names(0)
	for {
		if err := send(w, buf); err != nil {
			return // the peer has gone, or takes nothing
		}
		buf = buf[:0]
		batch, err := watcher.Next(r.Context())
		if err != nil {
			return // the peer has gone
		}
		if batch.LeftOut > 0 {
			buf = fmt.Appendf(buf, "%s%d events are left out here\n", Comment, batch.LeftOut)
		}
		for i := range batch.Records {
			rec := &batch.Records[i]
			if rec.Generation != names.Generation {
				names = e.Names(rec.Generation)
			}
			if !filter.Match(rec, names) {
				continue
			}
			buf = append(encoder.Append(buf, rec, names), encoder.Terminator()...)
			if len(buf) >= chunk {
				if err := send(w, buf); err != nil {
					return // the same
				}
				buf = buf[:0]
			}
		}
	}
}

// send writes what somebody looks at. At first there may be nothing but the header.
func send(w http.ResponseWriter, buf []byte) error {
	if err := patience(w, stall); err != nil {
		return err
	}
	if _, err := w.Write(buf); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}

// EventQuery says which events are asked for, and how they are printed. What is empty lets all pass.
type EventQuery struct {
	Only      []string // kinds
	Zones     []string
	Policies  []string // names of policies, filters, terms or screens
	Addresses []string // addresses and prefixes
	Ports     []string
	Format    string
	Profile   string
	Colour    bool
}

// Values returns the parameters of a request.
func (q *EventQuery) Values() url.Values {
	v := url.Values{"only": q.Only, "zone": q.Zones, "policy": q.Policies, "address": q.Addresses, "port": q.Ports}
	v.Set("format", q.Format)
	v.Set("profile", q.Profile)
	v.Set("colour", strconv.FormatBool(q.Colour))
	return v
}

// ReadFilter reads from the parameters of a request which events are asked for, and what is odd about that. names are all that there are.
func ReadFilter(v url.Values, names *event.Names) (f *tail.Filter, notes []string, err error) {
	f = &tail.Filter{Zones: v["zone"], Rules: v["policy"]}
	for _, name := range v["only"] {
		k, ok := event.ParseKind(name)
		if !ok {
			return nil, nil, fmt.Errorf("only: %v", spelling.Unknown("kind", name, kinds()))
		}
		f.Only = f.Only.With(k)
	}
	for _, name := range f.Zones {
		if zones := zoneNames(names); !slices.Contains(zones, name) {
			return nil, nil, fmt.Errorf("zone: %v", spelling.Unknown("zone", name, zones))
		}
	}
	known := ruleNames(names)
	for _, name := range f.Rules {
		if !slices.Contains(known, name) { // a rule of another firewall may get one at any time
			note := fmt.Sprintf("no policy, filter, term or screen is named %s so far", spelling.Quote(name))
			if near, ok := spelling.Nearest(name, known); ok {
				note += fmt.Sprintf("; did you mean %s?", spelling.Quote(near))
			}
			notes = append(notes, note)
		}
	}
	for _, text := range v["address"] {
		prefix, err := parsePrefix(text)
		if err != nil {
			return nil, nil, err
		}
		f.Addresses = append(f.Addresses, prefix)
	}
	for _, text := range v["port"] {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return nil, nil, fmt.Errorf("port: must be 0 to 65535, not %s", spelling.Quote(text))
		}
		f.Ports = append(f.Ports, uint16(port))
	}
	return f, notes, nil
}

// parsePrefix reads an address or a prefix, whose bits behind the mask do not matter.
func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("address: must be an address or a prefix such as 10.0.0.0/8, not %s", spelling.Quote(text))
	}
	return p.Masked(), nil
}

func (e *Events) encoder(v url.Values) (format.Encoder, error) {
	o := format.Options{Format: v.Get("format"), Profile: v.Get("profile"), Hostname: e.Hostname()}
	if o.Format == "" {
		o.Format = format.Text
	}
	if o.Format == format.Frames {
		return nil, errors.New("format: frames are not lines: a sink writes them")
	}
	o.Colour = o.Format == format.Text && v.Get("colour") == "true"
	return format.New(o)
}

func kinds() (list []string) {
	for _, k := range event.Kinds() {
		list = append(list, k.String())
	}
	return list
}

func zoneNames(n *event.Names) (list []string) {
	for _, name := range n.Zones {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// ruleNames returns the names that [tail.Rule] can return.
func ruleNames(n *event.Names) []string {
	var list []string
	for _, name := range n.Policies {
		list = append(list, name, strings.TrimSuffix(name, tail.Global))
	}
	for _, f := range n.Filters {
		list = append(append(list, f.Name), f.Terms...)
	}
	for s := range event.Screen(event.NumScreens) {
		list = append(list, s.String())
	}
	return slices.DeleteFunc(list, func(name string) bool { return strings.TrimSpace(name) == "" })
}
