package file_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sinks/file"
)

// load makes the sink that the text configures, and returns the mistakes in it.
func load(t *testing.T, plugin sdk.SinkPlugin, env sdk.Env, text string, path ...string) (sdk.Sink, string) {
	t.Helper()
	section, problems := config.ParseTable("test.toml", []byte(text), path...)
	sink := plugin.Configure(section, env)
	if err := problems.Err(); err != nil {
		return sink, err.Error()
	}
	return sink, ""
}

func plugins() map[string]sdk.SinkPlugin {
	return map[string]sdk.SinkPlugin{"file": file.Plugin(), "stdout": file.StdoutPlugin()}
}

func TestSample(t *testing.T) {
	for name, table := range map[string]string{"file": "audit", "stdout": "terminal"} {
		p := plugins()[name]
		if p.Name != name || p.Summary == "" {
			t.Errorf("plugin %q, %q", p.Name, p.Summary)
		}
		sink, problems := load(t, p, sdk.Env{Hostname: "fw1"}, p.Sample, "sinks", table)
		if sink == nil || problems != "" {
			t.Errorf("%s: the sample does not load: %s", name, problems)
		}
	}
}

// TestReadme loads every configuration in README.md.
func TestReadme(t *testing.T) {
	for _, s := range sinkcheck.Snippets(t, 3) {
		plugin := regexp.MustCompile(`plugin *= *"([a-z]+)"`).FindStringSubmatch(s)
		if plugin == nil {
			t.Errorf("not a sink:\n%s", s)
			continue
		}
		sinkcheck.WantLoads(t, plugins()[plugin[1]], s)
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{
		"path", "mode", "format", "profile", "platform", "sync", "sync_interval", "rotate.size", "rotate.interval", "rotate.keep",
		"rotate.max_age", "rotate.compress", "owner", "group", "shared_directory",
	} {
		if !strings.Contains(string(text), "| `"+option+"` |") {
			t.Errorf("README.md does not explain %s", option)
		}
	}
}

// TestIdleOptions warns of options that nothing reads beside the others.
func TestIdleOptions(t *testing.T) {
	device, dir := "/dev/null", t.TempDir()
	for _, c := range []struct {
		path, more string
		want       []string // keys
	}{
		{"", `rotate = { size = "1MB", keep = 1, max_age = "30d", compress = "gzip" }`, nil},
		{"", `rotate = { compress = "gzip" }`, []string{"rotate.compress"}},
		{"", `rotate = { keep = 14 }`, []string{"rotate.keep"}},
		{"", `rotate = { keep = 1, max_age = "30d" }`, []string{"rotate.keep", "rotate.max_age"}},
		{"", `sync_interval = "1s"`, []string{"sync_interval"}},
		{"", "sync = \"batch\"\nsync_interval = \"5s\"", []string{"sync_interval"}},
		{"", "sync = \"interval\"\nsync_interval = \"5s\"", nil},
		{"", "format = \"json\"\nprofile = \"junos-22-24\"", []string{"profile"}},
		{device, `rotate = { size = "1MB" }`, []string{"rotate.size"}},
		{device, "", nil},
	} {
		if c.path == "" {
			c.path = filepath.Join(dir, "x.log")
		}
		section, problems := config.ParseTable("test.toml", []byte("path = \""+c.path+"\"\n"+c.more))
		if sink := file.Plugin().Configure(section, sdk.Env{Hostname: "fw1"}); sink == nil {
			t.Errorf("%s: no sink", c.more)
		}
		var got []string
		for _, p := range problems.All() {
			if got = append(got, p.Key); p.Severity != config.Warning || p.Line == 0 {
				t.Errorf("%s: %v", c.more, p)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s %s: warnings at %q, want %q", c.path, c.more, got, c.want)
		}
	}
	section, problems := config.ParseTable("test.toml", []byte("path = \""+dir+"\""))
	if file.Plugin().Configure(section, sdk.Env{Hostname: "fw1"}) != nil || !strings.Contains(problems.Err().Error(), "is a directory") {
		t.Errorf("a directory is taken for a file: %v", problems.All())
	}
}

func TestMistakes(t *testing.T) {
	const path = "path = \"/var/log/x.log\"\n"
	for _, c := range []struct {
		plugin, text string
		want         []string // in the messages, nil for no mistake
	}{
		{"file", path, nil},
		{"file", path + `mode = "600"` + "\n" + `rotate = { size = "1MiB", keep = 0 }`, nil},
		{"file", path + `rotate = { interval = "90m" }`, nil},
		{"file", "", []string{"path"}},
		{"file", `path = "x.log"`, nil}, // relative to the working directory
		{"file", path + `pth = "y"`, []string{"pth"}},
		{"file", path + `format = "cef"`, []string{"cef"}},
		{"file", path + `profile = "junos-99"`, []string{"junos-99"}},
		{"file", path + `platform = 0`, []string{"SD-ID"}},
		{"file", path + `sync = "always"`, []string{"always"}},
		{"file", path + `sync_interval = "0s"`, []string{"1ms"}},
		{"file", path + `sync_interval = "fast"`, []string{"fast"}},
		{"file", path + `mode = "rw-"`, []string{"rw-"}},
		{"file", path + `mode = "1777"`, []string{"1777"}},
		{"file", path + `mode = "0"`, []string{"mode", "0640"}},
		{"file", path + `rotate = { size = "12" }`, []string{"1MB"}},
		{"file", path + `rotate = { size = "9999999TB" }`, []string{"9999999TB"}},
		{"file", path + `rotate = { size = "big" }`, []string{"big"}},
		{"file", path + `rotate = { interval = "weekly" }`, []string{"weekly"}},
		{"file", path + `rotate = { interval = "1s" }`, []string{"1m0s"}},
		{"file", path + `rotate = { keep = -1 }`, []string{"keep"}},
		{"file", path + `rotate = { size = "1MB", compress = "zstd", max_age = "30d" }`, nil},
		{"file", path + `rotate = { interval = "1h", compress = "gzip", max_age = "36h" }` + "\nowner = \"0\"\ngroup = \"root\"", nil},
		{"file", path + `rotate = { compress = "lzma" }`, []string{"lzma", "zstd"}},
		{"file", path + `rotate = { max_age = "1m" }`, []string{"max_age", "1h"}},
		{"file", path + `rotate = { max_age = "a week" }`, []string{"30d", "a week"}},
		{"file", path + `owner = "nobody-by-that-name"`, []string{"owner", "nobody-by-that-name"}},
		{"file", path + `group = "nobody-by-that-name"`, []string{"group", "nobody-by-that-name"}},
		{"file", "path = \"\"\nplatform = 0\nsync_interval = \"1h\"", []string{"path", "SD-ID", "1ms"}},
		{"file", "path = 5\nplatform = \"x\"\nmode = \"0\"\nsync_interval = \"1h\"", []string{
			"1:1: path: must be a string", "2:1: platform: must be an integer", "mode: nobody could open", "want 1ms to 1m0s"}},
		{"stdout", ``, nil},
		{"stdout", `format = "xml"`, []string{"xml"}},
		{"stdout", `path = "/x"`, []string{"path"}},
	} {
		sink, problems := load(t, plugins()[c.plugin], sdk.Env{Hostname: "fw1"}, c.text)
		if (problems == "") != (c.want == nil) || (sink == nil) != (c.want != nil) {
			t.Errorf("%s: sink %v, mistakes %q", c.text, sink, problems)
		}
		if i := slices.IndexFunc(c.want, func(w string) bool { return !strings.Contains(problems, w) }); i >= 0 {
			t.Errorf("%s: %q does not mention %s", c.text, problems, c.want[i])
		}
	}
	if _, problems := load(t, file.Plugin(), sdk.Env{Hostname: "fw 1"}, path); !strings.Contains(problems, "hostname") {
		t.Errorf("a bad hostname: %q", problems)
	}
}
