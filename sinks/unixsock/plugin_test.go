package unixsock_test

import (
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sinks/unixsock"
)

// configure returns a configured sink, and the mistakes in its configuration, a line each.
func configure(text string) (sdk.Sink, string) {
	section, problems := config.ParseTable("test.toml", []byte(text))
	sink := unixsock.Plugin().Configure(section, sdk.Env{})
	var all []string
	for _, p := range problems.All() {
		all = append(all, p.String())
	}
	return sink, strings.Join(all, "\n")
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ text, want string }{ // want "" is no mistake
		{`path = "/run/s"`, ""},
		{`path = "s"`, ""},
		{"path = \"/run/s\"\npeer_user = [\"root\", \"7\"]\npeer_group = [\"0\"]", ""},
		{"path = \"/run/s\"\npeer_user = [\"nobody here\"]", "warning: peer_user[0]: this host does not know it"},
		{"path = \"/run/s\"\npeer_group = [\"\"]", "peer_group[0]: want a name or a number"},
		{"path = \"/run/s\"\npeer_group = []", "peer_group: an empty list lets nobody connect"},
		{"path = \"/run/s\"\npeer_user = [0]", "peer_user"},
		{`path = "/tmp/s"`, "warning: path: every user of this host may make a socket in /tmp"},
		{"path = \"/tmp/s\"\npeer_user = [\"0\"]", ""},
		{`path = "@s"`, "warning: path: any process of this host can listen there"},
		{"path = \"/run/s\"\nmode = \"listen\"\nsessions = \"delta\"\nsecond = \"takeover\"\npermissions = \"0600\"\nsilence = \"1m\"", ""},
		{"path = \"@s\"\nmode = \"listen\"\npeer_user = [\"0\"]", ""},
		{``, "path: the path of the socket is missing"},
		{`path = "/run/` + strings.Repeat("x", 120) + `"`, "path: a socket's path may have 107 bytes, this one has 125"},
		{"path = \"/run/s\"\nmode = \"server\"", `mode: want "dial" or "listen", got "server"`},
		{"path = \"/run/s\"\nsessions = \"full\"", `sessions: want "record" or "delta", got "full"`},
		{"path = \"/run/s\"\nsecond = \"refuse\"", `second: goes with mode = "listen"`},
		{"path = \"/run/s\"\nmode = \"listen\"\nsecond = \"queue\"", `second: want "refuse" or "takeover", got "queue"`},
		{"path = \"/run/s\"\npermissions = \"0600\"", `permissions: goes with mode = "listen": the receiver makes the socket`},
		{"path = \"@s\"\nmode = \"listen\"\npeer_user = [\"0\"]\npermissions = \"0600\"", "permissions: an abstract socket has no permissions"},
		{"path = \"/run/s\"\nmode = \"listen\"\npermissions = \"rw\"", "permissions: want permission bits as a string"},
		{"path = \"/run/s\"\nmode = \"listen\"\npermissions = 0o660", "permissions: want permission bits as a string such as \"0660\", got 432"},
		{"path = \"/run/s\"\nmode = \"listen\"\npermissions = \"0666\"", "warning: permissions: every user of this host may connect"},
		{"path = \"@\"\npeer_user = [\"0\"]", `path: want a name behind the "@"`},
		{"path = \"unix:///run/s\"", "path: want the path of a socket, not a URL"},
		{"path = \"/run/s\"\nsilence = \"10ms\"", "silence: want 1s to 10m0s, got 10ms"},
		{"path = \"/run/s\"\nsilence = \"soon\"", "silence: must be a duration such as \"5s\" or \"10m\", not the string \"soon\""},
		{"path = \"/run/s\"\nmod = \"dial\"", `mod: unknown key; did you mean "mode"?`},
	} {
		sink, got := configure(c.text)
		if c.want == "" {
			if got != "" || sink == nil {
				t.Errorf("%s\n%s", c.text, got)
			}
			continue
		}
		if !strings.Contains(got, c.want) || strings.Contains(got, "\n") {
			t.Errorf("%s\ngives %q\nwant  %q", c.text, got, c.want)
		}
	}
}

// TestAllMistakes checks that a value of the wrong kind does not hide other mistakes.
func TestAllMistakes(t *testing.T) {
	_, got := configure("mode = \"lisen\"\nsilence = \"1h\"\npeer_user = [\"0\"]\npath = \"@\"")
	if strings.Count(got, "\n") != 2 {
		t.Errorf("%s", got)
	}
}

func TestReadme(t *testing.T) { sinkcheck.Readme(t, unixsock.Plugin(), 2) }

// TestSample checks that the sample is a configuration, also with the lines for mode = "listen".
func TestSample(t *testing.T) {
	sample := unixsock.Plugin().Sample
	body := func(text string) string {
		var lines []string
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "[") && !strings.HasPrefix(line, "plugin ") {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "")
	}
	if _, got := configure(body(sample)); got != "" {
		t.Error(got)
	}
	listen := strings.NewReplacer(`mode     = "dial"`, `mode     = "listen"`, "# second", "second", "# permissions", "permissions").Replace(sample)
	if _, got := configure(body(listen)); got != "" || listen == sample {
		t.Error(got)
	}
}
