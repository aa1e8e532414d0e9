package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// FrameNames is the type of frames that hold names. They occur only in files, before the records whose ids they name.
const FrameNames FrameType = 19

// Tables of a names frame.
const (
	tableBegin = iota // a new set of names, and where the records come from
	tableZones
	tablePolicies
	tableFilters
	tableTerms // the id is that of the filter; terms stand in their order
	tableInterfaces
	tableApplications
	numTables
)

// Layout of the payload of a names frame:
//
//	0  u32  generation    4  u8  table    5  3 bytes  zero
//	8  of tableBegin: u64 epoch, u8 length, host name
//	   of the others: entries of u32 id, u8 length, name
const (
	namesHead = 8
	entryHead = 5
	maxName   = 255
	// maxNames limits the bytes of entries of one set, so that a malicious file cannot use up the memory.
	maxNames = 4 << 20
)

// Origin says where the records of a file come from.
type Origin struct {
	Host  string // HOSTNAME of their lines; "" is unknown
	Epoch uint64 // of their stream; 0 is unknown
}

// AppendNames appends to b the frames that hold n, for the records that follow them in a file. A nil n has no names.
func AppendNames(b []byte, n *Names, from Origin) []byte {
	if n == nil {
		n = new(Names)
	}
	w := namesWriter{b: b, generation: n.Generation}
	w.begin(tableBegin)
	w.b = binary.LittleEndian.AppendUint64(w.b, from.Epoch)
	host := from.Host[:min(len(from.Host), maxName)]
	w.b = append(append(w.b, byte(len(host))), host...)
	w.end()
	for _, id := range slices.Sorted(maps.Keys(n.Zones)) {
		w.entry(tableZones, uint32(id), n.Zones[id])
	}
	for id, name := range n.Policies {
		w.entry(tablePolicies, uint32(id), name)
	}
	for id := range n.Filters {
		w.entry(tableFilters, uint32(id), n.Filters[id].Name)
	}
	for id := range n.Filters {
		for _, term := range n.Filters[id].Terms {
			w.entry(tableTerms, uint32(id), term)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(n.Interfaces)) {
		w.entry(tableInterfaces, id, n.Interfaces[id])
	}
	for id, name := range n.Applications {
		w.entry(tableApplications, uint32(id), name)
	}
	w.end()
	return w.b
}

// namesWriter appends names frames, each as full as it may be.
type namesWriter struct {
	b          []byte
	generation uint32
	table      byte
	at         int // where the open frame begins in b
	open       bool
}

func (w *namesWriter) begin(table byte) {
	w.at, w.table, w.open = len(w.b), table, true
	w.b = append(w.b, 0, 0, 0, 0, byte(FrameNames), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	w.b = binary.LittleEndian.AppendUint32(w.b, w.generation)
	w.b = append(w.b, table, 0, 0, 0)
}

func (w *namesWriter) end() {
	if w.open {
		binary.LittleEndian.PutUint32(w.b[w.at:], uint32(len(w.b)-w.at-HeaderSize))
		w.open = false
	}
}

func (w *namesWriter) entry(table byte, id uint32, name string) {
	name = name[:min(len(name), maxName)]
	if w.open && (w.table != table || len(w.b)-w.at-HeaderSize+entryHead+len(name) > MaxPayload) {
		w.end()
	}
	if !w.open {
		w.begin(table)
	}
	w.b = binary.LittleEndian.AppendUint32(w.b, id)
	w.b = append(append(w.b, byte(len(name))), name...)
}

// namesReader assembles the names of a set from its frames.
type namesReader struct {
	names *Names
	from  Origin
	sets  int // how many sets of names have begun
	bytes int
}

// add reads a names frame. A malformed frame is an error and changes nothing of what was read before.
func (r *namesReader) add(payload []byte) error {
	if len(payload) < namesHead {
		return fmt.Errorf("%d bytes of payload", len(payload))
	}
	generation, table, rest := binary.LittleEndian.Uint32(payload), payload[4], payload[namesHead:]
	if table == tableBegin {
		if len(rest) < 9 || len(rest) < 9+int(rest[8]) {
			return fmt.Errorf("its beginning is cut off")
		}
		r.from = Origin{Epoch: binary.LittleEndian.Uint64(rest), Host: string(rest[9 : 9+int(rest[8])])}
		r.names = &Names{Generation: generation, Zones: make(map[uint16]string), Interfaces: make(map[uint32]string)}
		r.bytes = 0
		r.sets++
		return nil
	}
	switch {
	case r.names == nil || r.names.Generation != generation:
		return fmt.Errorf("names of generation %d without a beginning", generation)
	case table >= numTables:
		return fmt.Errorf("names of kind %d", table)
	}
	if r.bytes += len(rest); r.bytes > maxNames {
		return fmt.Errorf("more than %d bytes of names", maxNames)
	}
	for len(rest) > 0 {
		if len(rest) < entryHead || len(rest) < entryHead+int(rest[4]) {
			return fmt.Errorf("a name is cut off")
		}
		id, name := binary.LittleEndian.Uint32(rest), string(rest[entryHead:entryHead+int(rest[4])])
		if err := r.set(table, id, name); err != nil {
			return err
		}
		rest = rest[entryHead+len(name):]
	}
	return nil
}

// DecodeNames reads the frames of one set of names, as [AppendNames] writes them.
func DecodeNames(b []byte) (*Names, Origin, error) {
	var r namesReader
	for len(b) > 0 {
		if len(b) < HeaderSize || FrameType(b[4]) != FrameNames || payloadLen(b) > min(MaxPayload, len(b)-HeaderSize) {
			return nil, Origin{}, errors.New("event: not a frame of names")
		}
		end := HeaderSize + payloadLen(b)
		if err := r.add(b[HeaderSize:end]); err != nil {
			return nil, Origin{}, fmt.Errorf("event: a frame of names: %w", err)
		}
		b = b[end:]
	}
	if r.names == nil {
		return nil, Origin{}, errors.New("event: no names")
	}
	return r.names, r.from, nil
}

// set sets one name. Ids that are places in a list come in their order.
func (r *namesReader) set(table byte, id uint32, name string) error {
	n := r.names
	list := func(to *[]string) error {
		if int64(id) != int64(len(*to)) {
			return fmt.Errorf("id %d behind %d others", id, len(*to))
		}
		*to = append(*to, name)
		return nil
	}
	switch table {
	case tableZones:
		if id > 0xffff {
			return fmt.Errorf("zone id %d", id)
		}
		n.Zones[uint16(id)] = name
	case tableInterfaces:
		n.Interfaces[id] = name
	case tablePolicies:
		return list(&n.Policies)
	case tableApplications:
		return list(&n.Applications)
	case tableFilters:
		if int64(id) != int64(len(n.Filters)) {
			return fmt.Errorf("filter id %d behind %d others", id, len(n.Filters))
		}
		n.Filters = append(n.Filters, Filter{Name: name})
	case tableTerms:
		if int64(id) >= int64(len(n.Filters)) {
			return fmt.Errorf("a term of filter %d of %d", id, len(n.Filters))
		}
		n.Filters[id].Terms = append(n.Filters[id].Terms, name)
	}
	return nil
}
