package format

import (
	"fmt"

	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/sdk/event"
)

// Encoder encodes records. It is safe for concurrent use.
type Encoder interface {
	// Append appends the message for r to dst and returns the extended slice. n resolves r's ids and should be of r's
	// generation; nil means that no name is known. r and n are only read.
	Append(dst []byte, r *event.Record, n *event.Names) []byte

	// Terminator returns what follows each message where messages are stored one after the other: a newline for lines,
	// nothing for frames, which hold their length. A transport with a framing of its own leaves it out.
	Terminator() string
}

// Names of the formats.
const (
	RFC5424 = "rfc5424" // structured data as Junos sends it; the default
	RFC3164 = "rfc3164" // the plain form of the same: short header, free text
	JSON    = "json"    // one object per record
	Frames  = "frames"  // the frame of the event stream
	Text    = "text"    // a short line for people
)

// DefaultPlatform is the vSRX in Juniper's chassis MIB.
const DefaultPlatform = 129

// SequenceID is the SD-ID of the element that [Options.Sequence] adds. 32473 is the enterprise number that RFC 5612 keeps for
// documentation: there is none for this program.
const SequenceID = "pipelined@32473"

// Options are the options of an encoder. The zero value is the default.
type Options struct {
	Format   string // one of [Names]; "" is RFC5424
	Profile  string // one of [Profiles]; "" is Junos20. Only RFC5424 and RFC3164 differ
	Platform uint32 // the last number of the SD-ID, which names the hardware; 0 is DefaultPlatform. RFC5424 only
	SDID     string // the whole SD-ID instead; "" is that of Platform. RFC5424 only
	Hostname string // of every message: at most 255 printable ASCII characters (RFC 5424 section 6); "" is unknown

	// Priorities are those that differ from [DefaultPriority]. Syslog formats only.
	Priorities map[event.Kind]Priority
	// Sequence adds an element [SequenceID] with the parameters epoch and sequence: the two identify a record.
	// RFC5424, and JSON in an envelope.
	Sequence bool
	Epoch    uint64 // of the stream, for Sequence, JSON and files of frames; 0 is unknown. See [ForStream]
	// StructuredFilter prints firewall-filter logs as structured data, which Junos prints as text only.
	// RFC5424 only.
	StructuredFilter bool
	// Envelope puts a JSON object into the MSG of an RFC 5424 message. JSON only.
	Envelope bool
	// Text adds a text behind structured data, as Junos does unless "brief" is set. Some readers drop messages without text.
	// RFC5424 only.
	Text bool
	// Colour prints the kind of event in colour, by escape sequences of terminals (ECMA-48). Format Text only.
	Colour bool
}

// OptionError is returned by [New] for an invalid option.
type OptionError struct {
	Option string // "format", "profile", "hostname", "sd_id", "sequence"
	Reason string
}

func (e *OptionError) Error() string { return "format: " + e.Option + ": " + e.Reason }

// Names lists the formats.
func Names() []string { return []string{RFC5424, RFC3164, JSON, Frames, Text} }

// New returns an encoder with the options o. Its error is an [*OptionError].
func New(o Options) (Encoder, error) {
	p, ok := profileOf(o.Profile)
	if !ok {
		return nil, unknown("profile", o.Profile, profileHint(o.Profile))
	}
	if o.Sequence && o.Format != RFC5424 && o.Format != "" && !(o.Format == JSON && o.Envelope) {
		return nil, &OptionError{"sequence", o.Format + " has no structured data to put it into"}
	}
	switch o.Format {
	case RFC5424, "":
		return newRFC5424(o, p)
	case RFC3164:
		return newRFC3164(o, p)
	case JSON:
		if o.Envelope {
			return newEnvelope(o)
		}
		return newJSON(o), nil
	case Text:
		return newShort(o), nil
	case Frames:
		return &frames{event.Origin{Host: o.Hostname, Epoch: o.Epoch}}, nil
	default:
		return nil, unknown("format", o.Format, spelling.Hint(o.Format, "formats", Names()))
	}
}

// Prefacer is implemented by encoders whose messages hold ids instead of names. A file of them needs a preface with the
// names before the first message, and again wherever the names change.
type Prefacer interface {
	AppendPreface(dst []byte, n *event.Names) []byte
}

// ForStream returns an encoder like e, which [New] has made, for the records of a stream of that epoch. It is e itself if the
// format does not print the epoch.
func ForStream(e Encoder, epoch uint64) Encoder {
	switch e := e.(type) {
	case *jsonEncoder:
		c := *e
		c.epoch = epochMember(epoch)
		return &c
	case *frames:
		return &frames{event.Origin{Host: e.from.Host, Epoch: epoch}}
	default:
		return e
	}
}

func unknown(option, got, hint string) error {
	return &OptionError{option, fmt.Sprintf("unknown %q; %s", got, hint)}
}
