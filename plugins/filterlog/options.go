package filterlog

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/values"
	"github.com/rtflow/pipelined/sdk"
)

// maxTerms is the largest number of terms in a filter.
const maxTerms = 1024

// options is the table of a filter.
type options struct {
	Family      string                     `toml:"family"`
	Attach      *attach                    `toml:"attach"`
	PrefixLists map[string][]values.Prefix `toml:"prefix-lists"`
	Terms       []termOptions              `toml:"term"`

	known []string // names of prefix lists, sorted; nil until a mistake needs them
}

// attach says whose packets the filter judges.
type attach struct {
	Input      []string `toml:"input"`       // interfaces that packets come in on
	OutputZone []string `toml:"output-zone"` // zones that packets go to
}

// termOptions is one term.
type termOptions struct {
	Name string   `toml:"name"`
	From from     `toml:"from"`
	Then []action `toml:"then"`
}

// from is what a term matches: all conditions that are there, each with any of its values.
type from struct {
	Source          []address  `toml:"source-address"`
	Destination     []address  `toml:"destination-address"`
	Address         []address  `toml:"address"`
	SourceList      []listName `toml:"source-prefix-list"`
	DestinationList []listName `toml:"destination-prefix-list"`
	AddressList     []listName `toml:"prefix-list"`

	Protocol              []protocol `toml:"protocol"`
	ProtocolExcept        []protocol `toml:"protocol-except"`
	NextHeader            []protocol `toml:"next-header"`
	NextHeaderExcept      []protocol `toml:"next-header-except"`
	PayloadProtocol       []protocol `toml:"payload-protocol"`
	PayloadProtocolExcept []protocol `toml:"payload-protocol-except"`

	SourcePort            []port `toml:"source-port"`
	SourcePortExcept      []port `toml:"source-port-except"`
	DestinationPort       []port `toml:"destination-port"`
	DestinationPortExcept []port `toml:"destination-port-except"`
	Port                  []port `toml:"port"`
	PortExcept            []port `toml:"port-except"`

	TCPFlags       []tcpFlags `toml:"tcp-flags"`
	TCPInitial     bool       `toml:"tcp-initial"`
	TCPEstablished bool       `toml:"tcp-established"`

	ICMPType       []icmpType `toml:"icmp-type"`
	ICMPTypeExcept []icmpType `toml:"icmp-type-except"`
	ICMPCode       []icmpCode `toml:"icmp-code"`
	ICMPCodeExcept []icmpCode `toml:"icmp-code-except"`

	IsFragment           bool         `toml:"is-fragment"`
	FirstFragment        bool         `toml:"first-fragment"`
	FragmentFlags        []fragFlags  `toml:"fragment-flags"`
	FragmentOffset       []fragOffset `toml:"fragment-offset"`
	FragmentOffsetExcept []fragOffset `toml:"fragment-offset-except"`

	DSCP               []dscp   `toml:"dscp"`
	DSCPExcept         []dscp   `toml:"dscp-except"`
	TrafficClass       []dscp   `toml:"traffic-class"`
	TrafficClassExcept []dscp   `toml:"traffic-class-except"`
	PacketLength       []length `toml:"packet-length"`
	PacketLengthExcept []length `toml:"packet-length-except"`
	TTL                []ttl    `toml:"ttl"`
	TTLExcept          []ttl    `toml:"ttl-except"`
	HopLimit           []ttl    `toml:"hop-limit"`
	HopLimitExcept     []ttl    `toml:"hop-limit-except"`
}

// defaults returns the options of an empty table.
func defaults() options { return options{Family: "any"} }

// decode reads the table, puts the prefix lists in their places, and checks what the types cannot.
func decode(cfg sdk.Config, zones *zone.Table) options {
	o := defaults()
	cfg.Decode(&o)
	if families := []string{"any", "inet", "inet6"}; !slices.Contains(families, o.Family) {
		cfg.Errorf("family", "unknown family %q; the families are: %s", o.Family, strings.Join(families, ", "))
	}
	o.checkAttach(cfg, zones)
	for name, list := range o.PrefixLists {
		if len(list) == 0 {
			cfg.Errorf(keypath.Join("prefix-lists", name), "the list is empty")
		}
	}
	if len(o.Terms) == 0 {
		cfg.Warnf("term", "there is none: the filter discards every packet that it sees, and logs nothing")
	}
	if len(o.Terms) > maxTerms {
		cfg.Errorf("term", "%d terms; a filter has at most %d", len(o.Terms), maxTerms)
	}
	names := make(map[string]bool)
	for i := range o.Terms {
		t, key := &o.Terms[i], keypath.Element("term", i)
		switch {
		case t.Name == "":
			cfg.Errorf(key+".name", "the term has no name")
		case names[t.Name]:
			cfg.Errorf(key+".name", "there are two terms of the name %q", t.Name)
		}
		names[t.Name] = true
		o.checkThen(cfg, key+".then", t.Then)
		o.checkFamily(cfg, key+".from", &t.From)
		o.resolve(cfg, key+".from.source-prefix-list", t.From.SourceList, &t.From.Source)
		o.resolve(cfg, key+".from.destination-prefix-list", t.From.DestinationList, &t.From.Destination)
		o.resolve(cfg, key+".from.prefix-list", t.From.AddressList, &t.From.Address)
		o.checkFrom(cfg, key+".from", &t.From)
	}
	return o
}

func (o *options) checkAttach(cfg sdk.Config, zones *zone.Table) {
	if o.Attach == nil {
		return
	}
	if len(o.Attach.Input)+len(o.Attach.OutputZone) == 0 {
		cfg.Errorf("attach", "the filter is attached nowhere; leave attach out to filter what comes in on all interfaces")
	}
	interfaces, known := zones.InterfaceNames(), zones.ZoneNames()
	for i, name := range o.Attach.Input {
		if _, ok := zones.InterfaceID(name); !ok {
			cfg.Errorf(keypath.Element("attach.input", i), "%s", spelling.Unknown("interface", name, interfaces))
		}
	}
	for i, name := range o.Attach.OutputZone {
		if _, ok := zones.Lookup(name); !ok {
			cfg.Errorf(keypath.Element("attach.output-zone", i), "%s", spelling.Unknown("zone", name, known))
		}
	}
}

func (o *options) checkThen(cfg sdk.Config, key string, then []action) {
	var terminating, counts int
	for i, a := range then {
		at := keypath.Element(key, i)
		if a.decides() {
			if terminating++; terminating > 1 {
				cfg.Errorf(at, "a term has at most one of accept, discard, reject and next term")
			}
		}
		if a.counter != "" {
			if counts++; counts > 1 {
				cfg.Errorf(at, "a term has at most one count")
			}
		}
		if (a.kind == reject || a.kind == resetTCP) && o.Attach != nil && len(o.Attach.OutputZone) > 0 {
			cfg.Errorf(at, "reject works on input only; this filter has an output-zone")
		}
	}
}

// checkFamily reports addresses that no packet of the filter's family has. Prefix lists may hold both families.
func (o *options) checkFamily(cfg sdk.Config, key string, f *from) {
	for _, c := range f.addresses() {
		for i, a := range c.list {
			ip := a.prefix.Addr()
			if o.Family == "inet" && ip.Is6() || o.Family == "inet6" && ip.Is4() {
				cfg.Errorf(keypath.Element(key+"."+c.key, i), "%v is not of family %s", a.prefix, o.Family)
			}
		}
	}
}

// resolve adds the prefixes of named lists to an address condition.
func (o *options) resolve(cfg sdk.Config, key string, names []listName, to *[]address) {
	for i, n := range names {
		list, ok := o.PrefixLists[n.name]
		if !ok && n.name != "" {
			if o.known == nil {
				o.known = slices.Sorted(maps.Keys(o.PrefixLists))
			}
			cfg.Errorf(keypath.Element(key, i), "unknown prefix list %q%s", n.name, spelling.Suggest(n.name, o.known))
		}
		for _, p := range list {
			*to = append(*to, address{prefix: p.Prefix, except: n.except})
		}
	}
}

// checkFrom reports conditions that no packet could meet: a filter that silently never matches, or one whose empty list
// matches everything, is worse than none.
func (o *options) checkFrom(cfg sdk.Config, key string, f *from) {
	v := reflect.ValueOf(*f)
	for i := range v.NumField() {
		if list := v.Field(i); list.Kind() == reflect.Slice && !list.IsNil() && list.Len() == 0 {
			cfg.Errorf(key+"."+v.Type().Field(i).Tag.Get("toml"), "the list is empty")
		}
	}
	for _, c := range f.addresses() {
		only := true
		for _, a := range c.list {
			only = only && a.except
		}
		if only && len(c.list) > 0 {
			cfg.Errorf(key+"."+c.key, "nothing but exceptions never matches; add what they are exceptions from, such as 0.0.0.0/0")
		}
	}
	if (f.ICMPCode != nil || f.ICMPCodeExcept != nil) && f.ICMPType == nil {
		cfg.Errorf(key, "an icmp-code needs an icmp-type")
	}
	if (f.Port != nil || f.PortExcept != nil) && (f.SourcePort != nil || f.DestinationPort != nil) {
		cfg.Errorf(key, "port cannot stand beside source-port or destination-port")
	}
}

// addressCondition is a condition on one address, or on either.
type addressCondition struct {
	key  string
	list []address
}

func (f *from) addresses() [3]addressCondition {
	return [3]addressCondition{{"source-address", f.Source}, {"destination-address", f.Destination}, {"address", f.Address}}
}

// names returns the names of the terms in order.
func (o *options) names() []string {
	names := make([]string, len(o.Terms))
	for i := range o.Terms {
		names[i] = o.Terms[i].Name
	}
	return names
}
