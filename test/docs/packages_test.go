package docs

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// packageList is what the test looks at of the list of the deb and the rpm.
type packageList struct {
	Contents []struct {
		Src, Dst, Type string
	}
	Overrides map[string]struct{ Scripts map[string]string }
}

// docDir is where the packages have the pages, as they lie in the repository.
const docDir = "/usr/share/doc/pipelined/"

// relativeLink matches a link to a page or a picture beside the one that it stands in.
var relativeLink = regexp.MustCompile(`\]\(([^):#]+\.(?:md|png|svg))[#)]`)

// What the packages name is there, they name no pattern that a stray file could match, a shell takes their scripts, and a link from one of their
// pages to another leads somewhere.
func TestPackageList(t *testing.T) {
	text, err := os.ReadFile(root + "dist/nfpm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var list packageList
	if err := yaml.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	shipped := make(map[string]bool)
	for _, c := range list.Contents {
		shipped[c.Dst] = true
		if c.Type == "dir" || strings.HasPrefix(c.Src, "bin/") { // which make packages makes
			continue
		}
		if strings.ContainsAny(c.Src, "*?[") {
			t.Errorf("%s: the packages take whatever lies there", c.Src)
		} else if info, err := os.Stat(root + c.Src); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %v", c.Src, err)
		}
	}
	for _, c := range list.Contents {
		if !strings.HasPrefix(c.Dst, docDir) || path.Ext(c.Src) != ".md" {
			continue
		}
		page, err := os.ReadFile(root + c.Src)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range relativeLink.FindAllStringSubmatch(string(page), -1) {
			if to := path.Join(path.Dir(c.Dst), link[1]); !shipped[to] {
				t.Errorf("%s leads to %s, which the packages do not have", c.Src, to)
			}
		}
	}
	checkScripts(t, &list)
}

func checkScripts(t *testing.T, list *packageList) {
	t.Helper()
	if len(list.Overrides) == 0 {
		t.Error("the packages have no scripts")
	}
	for packager, o := range list.Overrides {
		for when, script := range o.Scripts {
			if out, err := exec.Command("sh", "-n", root+script).CombinedOutput(); err != nil {
				t.Errorf("%s, %s: %v\n%s", packager, when, err, out)
			}
		}
	}
	if out, err := exec.Command("bash", "-n", root+"test/packages.sh").CombinedOutput(); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("%v\n%s", err, out)
	}
}
