package format

import "github.com/rtflow/pipelined/sdk/event"

// envelopeEncoder puts a JSON object into the MSG of an RFC 5424 message. There is no byte order mark before it: many readers of
// JSON do not accept one, and RFC 5424 section 6.4 allows a MSG without.
type envelopeEncoder struct {
	json     Encoder
	heads    [event.NumKinds]head
	screens  [numScreenTags]head
	sequence string
}

func newEnvelope(o Options) (Encoder, error) {
	host, err := hostname(o)
	if err != nil {
		return nil, err
	}
	build := func(k event.Kind, program, tag string) head {
		return newHead(o.pri(k)+"1 ", host, program, tag, "")
	}
	e := &envelopeEncoder{sequence: sequenceElement(o)}
	if o.Sequence {
		o.Epoch = 0 // the structured data has it
	}
	e.json = newJSON(o)
	e.heads = [event.NumKinds]head{
		event.SessionOpen:  build(event.SessionOpen, programFlow, tagCreate),
		event.SessionClose: build(event.SessionClose, programFlow, tagClose),
		event.PolicyDeny:   build(event.PolicyDeny, programFlow, tagDeny),
		event.FilterLog:    build(event.FilterLog, "-", tagFilter),
		event.Loss:         build(event.Loss, programOurs, tagLoss),
	}
	for t := range e.screens {
		e.screens[t] = build(event.ScreenDrop, programScreen, screenTag(t).String())
	}
	return e, nil
}

func (e *envelopeEncoder) Terminator() string { return "\n" }

func (e *envelopeEncoder) Append(b []byte, r *event.Record, n *event.Names) []byte {
	h := &e.heads[r.Kind()]
	if r.Kind() == event.ScreenDrop {
		h = &e.screens[screenOf(r).tag]
	}
	b = appendHeader(b, h, r.Time())
	return e.json.Append(appendOnlySequence(b, e.sequence, r), r, n)
}
