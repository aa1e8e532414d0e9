package process

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mistakes is a configuration that keeps what is said about it.
type mistakes struct{ list []string }

func (*mistakes) Name() string    { return "mine" }
func (*mistakes) Decode(any) bool { return true }
func (m *mistakes) Errorf(key, form string, args ...any) {
	m.list = append(m.list, key+": "+fmt.Sprintf(form, args...))
}
func (*mistakes) Warnf(string, string, ...any) {}

// check returns what Check has to say about a spec.
func check(s *Spec) string {
	m := new(mistakes)
	if ok := s.Check(m, "command"); ok != (len(m.list) == 0) {
		return fmt.Sprintf("Check = %v with %q", ok, m.list)
	}
	return strings.Join(m.list, "\n")
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"good": 0o755, "plain": 0o644, "open": 0o777} {
		put(t, filepath.Join(dir, name), name, mode)
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
	}
	const sum = "770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c" // of "good"
	for _, c := range []struct {
		path    string
		options Options
		want    string
	}{
		{"good", Options{}, ""},
		{"good", Options{Env: []string{"A=1", "B"}, Memory: 64e6, CPU: 2, SHA256: sum}, ""},
		{"good", Options{User: "0", Group: "0"}, ""},
		{"none", Options{}, "command: " + dir + "/none: no such file"},
		{"plain", Options{}, "command: " + dir + "/plain is no executable file"},
		{"open", Options{}, "command: " + dir + "/open is not started: "},
		{"open", Options{Shared: true}, ""},
		{"", Options{}, "is no executable file"},
		{"good", Options{SHA256: "12"}, "sha256: must be the 64 hexadecimal digits"},
		{"good", Options{SHA256: strings.Repeat("0", 64)}, "sha256: " + dir + "/good is another file: its SHA-256 is " + sum},
		{"good", Options{Env: []string{"=x"}}, `env[0]: must be "NAME=value"`},
		{"good", Options{Env: []string{"A=1", "OWNED_X=1"}}, "env[1]: must be"},
		{"good", Options{Env: []string{"OWNED", "PIPELINED_X", "a b"}}, "env[2]: must be"},
		{"good", Options{Env: []string{"PIPELINED_X"}}, "env[0]: must be"},
		{"good", Options{Memory: 1 << 20}, "memory: must be at least 16MiB"},
		{"good", Options{CPU: -1}, "cpu: must be how many processors it may use, 0.01 to 1024, or 0 for all, not -1"},
		{"good", Options{CPU: 0.001}, "cpu: must be how many processors"},
		{"good", Options{CPU: 1025}, "cpu: must be how many processors"},
		{"good", Options{CPU: math.NaN()}, "cpu: must be how many processors"},
		{"good", Options{User: "no-such-user"}, `user: there is no user "no-such-user"`},
		{"good", Options{Group: "no-such-group"}, `group: there is no group "no-such-group"`},
	} {
		says := check(&Spec{Command: []string{filepath.Join(dir, c.path)}, Options: c.options, Reserved: []string{"OWNED_"}})
		if (says == "") != (c.want == "") || !strings.Contains(says, c.want) {
			t.Errorf("%s %+v: %s, want %q", c.path, c.options, says, c.want)
		}
	}
	if says := check(&Spec{Command: []string{"good"}}); !strings.Contains(says, "must be an absolute path") {
		t.Errorf("a relative path: %s", says)
	}
	if says := check(&Spec{Command: []string{filepath.Join(dir, "good")}, Options: Options{CPU: -1}, Table: "process"}); !strings.HasPrefix(says, "process.cpu: ") {
		t.Errorf("in a table: %s", says)
	}
}
