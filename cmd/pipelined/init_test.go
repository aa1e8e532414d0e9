package main

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/rtflow/pipelined/internal/draft"
	"github.com/rtflow/pipelined/internal/survey"
)

// TestDraftsPassCheck checks the configurations for the machines that package draft is tested with.
func TestDraftsPassCheck(t *testing.T) {
	files, err := filepath.Glob("internal/draft/testdata/*.toml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d configurations (%v)", len(files), err)
	}
	for _, file := range files {
		for _, purpose := range []string{"", "run"} {
			out, errs, code := runCommand(t, "check", "--for", purpose, "--config", file)
			if purpose == "" {
				out, errs, code = runCommand(t, "check", "--config", file)
			}
			if code != 0 || strings.Count(errs, "warning:") != strings.Count(errs, "this host has no interface") || !strings.Contains(out, "\nok") {
				t.Errorf("%s: %d\n%s%s", file, code, errs, out)
			}
		}
	}
}

// drafting runs init for a machine.
func drafting(t *testing.T, host survey.Host, path string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := newInit()
	cmd.SetContext(t.Context())
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err = initialise(cmd, func() (draft.Draft, error) { return draft.New(host) }, path)
	return out.String(), errs.String(), err
}

// TestInitFile writes a file that does not exist, and nothing else.
func TestInitFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "it's.toml")
	out, errs, err := drafting(t, survey.Host{}, path)
	if err != nil || out != "" || !strings.Contains(errs, "no network") || !strings.Contains(errs, "pipelined run --config '"+dir+`/it'\''s.toml'`) {
		t.Fatalf("%v\n%s%s", err, out, errs)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), `# Drafted by "pipelined init"`) {
		t.Fatalf("%v\n%s", err, text)
	}
	printed, errs, err := drafting(t, survey.Host{}, "")
	if err != nil || printed != string(text) || !strings.Contains(errs, "pipelined init pipeline.toml") {
		t.Errorf("on standard output: %v\n%s%s", err, printed, errs)
	}
	link := filepath.Join(dir, "link.toml")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	for _, taken := range []string{path, link, dir} {
		if _, errs, code := runCommand(t, "init", taken); code != exitFailure || !strings.Contains(errs, "writes over nothing") {
			t.Errorf("%s: %d %s", taken, code, errs)
		}
		if err := writeNew(taken, "x"); err == nil || !strings.Contains(err.Error(), "writes over nothing") {
			t.Errorf("%s, which came meanwhile: %v", taken, err)
		}
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, text) {
		t.Errorf("the file was changed: %v", err)
	}
	if err := writeNew(filepath.Join(dir, "none", "x.toml"), "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a directory that is not there: %v", err)
	}
	for _, args := range [][]string{{""}, {"a", "b"}, {"--force", "a"}} {
		if _, errs, code := runCommand(t, append([]string{"init"}, args...)...); code != exitUsage {
			t.Errorf("%q: %d %s", args, code, errs)
		}
	}
}

// TestInitHere runs init on the machine of the test, whatever that is, and checks what it prints.
func TestInitHere(t *testing.T) {
	out, errs, code := runCommand(t, "init")
	if code != 0 || !strings.Contains(errs, "This machine looks like") {
		t.Fatalf("%d\n%s", code, errs)
	}
	if _, errs, code := runCommand(t, "check", "--for", "run", "--config", writeFile(t, "here.toml", out)); code != 0 || strings.Contains(errs, "warning") {
		t.Errorf("%d %s\n%s", code, errs, out)
	}
}

// TestInitMistake does not hand on a configuration with a mistake.
func TestInitMistake(t *testing.T) {
	var out, errs bytes.Buffer
	cmd := newInit()
	cmd.SetContext(t.Context())
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	path := filepath.Join(t.TempDir(), "x.toml")
	err := initialise(cmd, func() (draft.Draft, error) { return draft.Draft{Text: "[pipelin]\n"}, nil }, path)
	if _, statErr := os.Stat(path); err == nil || statErr == nil || out.Len() > 0 || !strings.Contains(errs.String(), "pipelin") {
		t.Errorf("%v, %v: %s%s", err, statErr, out.String(), errs.String())
	}
}

// machineOf makes a machine of random numbers: names and stacks of interfaces as the kernel would take them, and rules.
func machineOf(r *rand.Rand) survey.Host {
	letters := []string{"eth", "lan", "wan", "br-lan", ".", "0", "1", "100", "\"", "\\", "'", "#", "${", "}", "$", "ß", "\u202e", "\x1b", "\x7f", "\xff", "]", "=", "any", "unknown", "\u3000", "😀"}
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	var host survey.Host
	host.IPv4, host.IPv6 = r.IntN(2) == 0, r.IntN(2) == 0
	host.Conntrack = survey.Conntrack{Absent: r.IntN(3) == 0, Entries: r.IntN(3), Max: 1000, Accounting: r.IntN(2) == 0, ReadOnly: pick("", "x\ny")}
	host.Firewall = survey.Firewall{Known: r.IntN(2) == 0, Tracks: r.IntN(2) == 0, KernelLog: r.IntN(2) == 0, Chains: map[string][]string{}, Taken: map[uint16]string{}}
	for n := range r.IntN(70) / (1 + r.IntN(60)) {
		host.Firewall.Groups = append(host.Firewall.Groups, uint16(n*7))
		if r.IntN(3) == 0 {
			host.Firewall.Taken[uint16(n*7)] = pick("ulogd", "\x1b\n")
		}
	}
	used := map[string]bool{}
	for range r.IntN(12) {
		name := ""
		for range 1 + r.IntN(3) {
			name += pick(letters...)
		}
		if used[name] || len(name) > 15 {
			continue
		}
		used[name] = true
		i := survey.Interface{
			Name: name, Kind: pick("device", "device", "veth", "vlan", "bridge", "dummy", "wireguard", "vrf", "macvlan"), Driver: pick("", "igb\n"), Up: r.IntN(4) > 0,
			Carrier: r.IntN(4) > 0, Default: r.IntN(3) == 0, Routes: r.IntN(3) * r.IntN(2), Forwards: r.IntN(4) == 0, Carries: r.IntN(4) == 0, Dynamic: r.IntN(2) == 0,
		}
		for range r.IntN(3) {
			a := netip.AddrFrom4([4]byte{10, byte(r.IntN(3)), byte(r.IntN(3)), byte(r.IntN(256))})
			i.Addresses = append(i.Addresses, netip.PrefixFrom(a, r.IntN(33)))
		}
		if len(host.Interfaces) > 0 {
			other := host.Interfaces[r.IntN(len(host.Interfaces))].Name
			switch r.IntN(8) {
			case 0:
				i.PortOf = other
			case 1:
				i.VRF = other
			case 2, 3:
				i.Parent = other
				if i.Kind == "vlan" {
					i.VLAN = uint16(1 + r.IntN(4094))
				}
			}
		}
		if r.IntN(3) == 0 {
			host.Firewall.Chains[name] = []string{pick("input_", "forward_", "filter_IN_", "x") + pick(letters...)}
		}
		host.Interfaces = append(host.Interfaces, i)
	}
	if r.IntN(4) == 0 {
		host.Unseen = []string{"routes: \x1b[2J\n[x]"}
	}
	return host
}

// TestInitAnyMachine checks what is written for random machines: no mistake, no warning, and nothing for a terminal to obey.
func TestInitAnyMachine(t *testing.T) {
	n := 100
	if testing.Short() {
		n = 30
	}
	for seed := range uint64(n) {
		host := machineOf(rand.New(rand.NewPCG(seed, 1)))
		out, errs, err := drafting(t, host, "")
		if err != nil || strings.Contains(errs, "warning:") {
			t.Fatalf("machine %d: %v\n%s\n%s\n%+v", seed, err, errs, out, host)
		}
		if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Fatalf("machine %d: %q is in the configuration", seed, out[i:min(len(out), i+8)])
		}
	}
}
