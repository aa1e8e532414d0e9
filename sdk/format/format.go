package format

import (
	"fmt"
	"strings"

	"github.com/rtflow/pipelined/sdk/event"
)

// Encoder makes bytes of records.
type Encoder interface {
	// Append appends the message for r to dst and returns the extended slice. n resolves r's ids and should be of r's
	// generation; nil means that no name is known. r and n are only read.
	Append(dst []byte, r *event.Record, n *event.Names) []byte

	// Terminator returns what stands behind each message where messages are stored one after the other: a newline for
	// lines, nothing for frames, which carry their length. A transport with a framing of its own leaves it out.
	Terminator() string
}

// Names of the formats.
const (
	RFC5424 = "rfc5424" // structured data as Junos sends it; the default
	JSON    = "json"    // one object per record
	Frames  = "frames"  // the frame of the event stream
)

// Names of the profiles: which Junos release the RFC 5424 lines imitate.
const (
	Junos20 = "junos-20" // 19.x and 20.x, session-id-32; the default
	Junos22 = "junos-22" // 22.2 and later, session-id
)

// DefaultPlatform is the vSRX in Juniper's chassis MIB.
const DefaultPlatform = 129

// Options says how to encode. The zero value is the default.
type Options struct {
	Format   string // one of [Names]; "" is RFC5424
	Profile  string // one of [Profiles]; "" is Junos20. Only RFC5424 differs
	Platform uint32 // the last number of the SD-ID, which names the hardware; 0 is DefaultPlatform. RFC5424 only
	Hostname string // of every line; "" is unknown. RFC 5424 wants at most 255 printable ASCII characters
}

// OptionError is an option that cannot be used.
type OptionError struct {
	Option string // "format", "profile", "hostname"
	Reason string
}

func (e *OptionError) Error() string { return "format: " + e.Option + ": " + e.Reason }

// Names lists the formats.
func Names() []string { return []string{RFC5424, JSON, Frames} }

// Profiles lists the profiles.
func Profiles() []string { return []string{Junos20, Junos22} }

// New returns the encoder that o asks for, or an [*OptionError].
func New(o Options) (Encoder, error) {
	p, ok := profileOf(o.Profile)
	if !ok {
		return nil, unknown("profile", o.Profile, Profiles())
	}
	switch o.Format {
	case RFC5424, "":
		return newRFC5424(o, p)
	case JSON:
		return newJSON(o), nil
	case Frames:
		return frames{}, nil
	default:
		return nil, unknown("format", o.Format, Names())
	}
}

func unknown(option, got string, known []string) error {
	return &OptionError{option, fmt.Sprintf("unknown %q; known are %s", got, strings.Join(known, ", "))}
}
