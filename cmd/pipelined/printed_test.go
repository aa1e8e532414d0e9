package main

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/pipeline"
)

// hostile are texts that do something to a terminal when they are printed as they are.
var hostile = []string{
	"eth0\x1b[2J\x1b]0;title\x07", "a\nb\rc\td\x00\x7f", "\u009b2J\x9b2J", "a\u202eb\u2066c\u2028d\u200f", "\xff\xfe\xe4\xb8", `"x"]`, "\u0301",
}

// FuzzPrinted has every command print a text from outside wherever such a text can come from. What comes out is graphic.
func FuzzPrinted(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	var page atomic.Value
	page.Store("")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s := page.Load().(string); r.URL.Path == "/healthz" {
			http.Error(w, s, http.StatusServiceUnavailable)
		} else {
			metrics.Handler(metrics.NewCollector(func() metrics.Snapshot { return metrics.Snapshot{} }),
				func() any { return hostileStatus(s) }, func() error { return nil }).ServeHTTP(w, r)
		}
	}))
	defer server.Close()
	address := server.Listener.Addr().String()
	f.Fuzz(func(t *testing.T, s string) {
		dir := t.TempDir()
		write := func(name string, data []byte) string {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		page.Store(s)
		config := write("quoted.toml", []byte(hostileConfig(s)))
		raw := write("raw", []byte(s))
		commands := [][]string{
			{"status", "--address", address}, {"status", "--json", "--address", address},
			{"check", "--config", config}, {"check", "--config", raw},
			{"doctor", "--config", config}, {"doctor", "--config", raw}, {"doctor", "--config", config, s}, {"doctor", "--" + s, s},
			{"read", "--config", config, raw},
			{"verify", raw}, {"verify", write("line", []byte("<14>1 2026-03-01T10:15:20Z "+s+" RT_FLOW - RT_FLOW_SESSION_CREATE [x "+s+"=\""+s+"\"]\n"))},
			{"explain", "--config", config, s}, {"explain", "--config", config, "tcp 10.0.0.1:1 > 10.0.0.2:2 in " + s}, {"explain", "--config", "pipeline.toml", "<11>x RT_SCREEN_TCP: " + s + "! source: 10.0.0.1:1, destination: 10.0.0.2:2, interface name: " + s},
			{"diff", config, raw}, {"diff", "pipeline.toml", config}, {"diff", "pipeline.toml", "pipeline.toml", "--flows", raw}, {"tail", "--control", filepath.Join(dir, s)}, {"top", "--once", "--control", filepath.Join(dir, s)},
			{s}, {"--" + s}, {"sample", s}, {"read", s, "--format", s}, {"status", "--address", s},
			{"plugin", "test", "--config", config, "/bin/true"},
		}
		for _, link := range []uint16{1, 147} {
			for _, unit := range []byte{9, 30} {
				commands = append(commands, []string{"read", write("named.pcapng", namedInterface(s, link, unit))})
			}
		}
		for _, args := range commands {
			var out, errs bytes.Buffer
			run(t.Context(), args, &out, &errs)
			for stream, text := range map[string]string{"output": out.String(), "error": errs.String()} {
				if !utf8.ValidString(text) {
					t.Fatalf("%q: standard %s is not UTF-8: %q", args, stream, text)
				}
				if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsGraphic(r) }); i >= 0 {
					t.Fatalf("%q: standard %s: %q", args, stream, text[i:])
				}
			}
		}
	})
}

// hostileStatus returns a status that holds s wherever it holds text.
func hostileStatus(s string) pipeline.Status {
	return pipeline.Status{
		Epoch:   1,
		Sources: map[string]any{s: map[string]any{s: s, "list": []string{s}, s + "n": 1}},
		Sinks: map[string]pipeline.SinkStatus{s: {
			Status: deliver.Status{Phase: deliver.Phase(s), LastError: s, Rejects: 1, LastReject: s},
			Detail: map[string]any{s: s}, Counters: map[string]uint64{s: 1},
		}},
		Ledger: metrics.Ledger{
			Packets: metrics.Packets{RefusedAs: map[string]uint64{s: 1}},
			Sinks:   map[string]map[string]metrics.Queue{s: {s: {Queued: 1}}},
		},
	}
}

// hostileConfig returns a configuration with s as name and value of everything.
func hostileConfig(s string) string {
	var quoted strings.Builder
	quoted.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			quoted.WriteByte('\\')
			quoted.WriteRune(r)
		case r < ' ' || r == 0x7f:
			quoted.WriteString(`\u00`)
			quoted.WriteString(string("0123456789abcdef"[r>>4]) + string("0123456789abcdef"[r&15]))
		default:
			quoted.WriteRune(r)
		}
	}
	quoted.WriteByte('"')
	return strings.ReplaceAll(`
[node]
name = S
[pipeline]
sources = [S, "c"]
hooks = [S]
sinks = [S, "o"]
[zones.S]
interfaces = [S]
[zones.z]
interfaces = [S]
prefixes = [S]
[sources.c]
plugin = "pcap"
file = S
interface = S
[sources.S]
plugin = S
S = S
[hooks.S]
plugin = S
[sinks.S]
plugin = S
[sinks.o]
plugin = "file"
path = S
format = S
`, "S", quoted.String())
}

// namedInterface returns a pcapng of one packet on an interface of that name, link type and unit of time.
func namedInterface(name string, link uint16, unit byte) []byte {
	block := func(kind uint32, body []byte) []byte {
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		size := uint32(12 + len(body))
		b := binary.LittleEndian.AppendUint32(nil, kind)
		b = append(binary.LittleEndian.AppendUint32(b, size), body...)
		return binary.LittleEndian.AppendUint32(b, size)
	}
	name = name[:min(len(name), 1<<10)]
	section := append([]byte{0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0}, bytes.Repeat([]byte{0xff}, 8)...)
	described := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(link)), 0)
	described = binary.LittleEndian.AppendUint16(described, 2)
	described = append(binary.LittleEndian.AppendUint16(described, uint16(len(name))), name...)
	for len(described)%4 != 0 {
		described = append(described, 0)
	}
	described = append(described, 9, 0, 1, 0, unit, 0, 0, 0)
	frame := append(bytes.Repeat([]byte{2}, 12), 0x08, 0x06)
	packet := make([]byte, 12)
	packet = binary.LittleEndian.AppendUint32(packet, uint32(len(frame)))
	packet = append(binary.LittleEndian.AppendUint32(packet, uint32(len(frame))), frame...)
	return append(append(block(0x0a0d0d0a, section), block(1, described)...), block(6, packet)...)
}
