package format_test

import (
	"testing"

	"github.com/rtflow/pipelined/internal/rfc5424"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

func closeSample(tb testing.TB) *event.Record {
	for _, s := range samples() {
		if s.name == "close fin" {
			return s.r
		}
	}
	tb.Fatal("no such sample")
	return nil
}

func benchmarkClose(b *testing.B, o format.Options) {
	e, r, n := newEncoder(b, o), closeSample(b), names()
	buf := e.Append(nil, r, n)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = e.Append(buf[:0], r, n)
	}
}

func BenchmarkRFC5424SessionClose(b *testing.B) { benchmarkClose(b, format.Options{}) }

func BenchmarkRFC3164SessionClose(b *testing.B) {
	benchmarkClose(b, format.Options{Format: format.RFC3164})
}

func BenchmarkJSONSessionClose(b *testing.B) { benchmarkClose(b, format.Options{Format: format.JSON}) }

func BenchmarkTextSessionClose(b *testing.B) { benchmarkClose(b, format.Options{Format: format.Text}) }

// BenchmarkLibrarySessionClose makes a message of the same values with the builder of the syslog library.
func BenchmarkLibrarySessionClose(b *testing.B) {
	line := newEncoder(b, format.Options{}).Append(nil, closeSample(b), names())
	m, err := rfc5424.NewParser().Parse(line)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		out := &rfc5424.Message{}
		out.SetPriority(14).SetVersion(1).SetTimestamp("2026-03-01T10:15:50.875Z").SetHostname("fw1").
			SetAppname("RT_FLOW").SetMsgID("RT_FLOW_SESSION_CLOSE")
		for id, params := range *m.StructuredData {
			for name, value := range params {
				out.SetParameter(id, name, value)
			}
		}
		if _, err := out.String(); err != nil {
			b.Fatal(err)
		}
	}
}
