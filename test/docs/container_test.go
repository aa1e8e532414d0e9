package docs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/rtflow/pipelined/core/config"
)

// manifest is what the test looks at of the objects of Kubernetes.
type manifest struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Data     map[string]string // of a ConfigMap
	Spec     struct {          // of a DaemonSet
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     podSpec
		}
	}
}

type podSpec struct {
	HostNetwork bool `yaml:"hostNetwork"`
	Containers  []struct {
		Args            []string
		SecurityContext struct {
			Capabilities struct{ Add, Drop []string }
		} `yaml:"securityContext"`
		LivenessProbe  probe `yaml:"livenessProbe"`
		ReadinessProbe probe `yaml:"readinessProbe"`
		VolumeMounts   []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	}
	Volumes []struct {
		Name      string
		ConfigMap struct{ Name string } `yaml:"configMap"`
	}
}

type probe struct {
	HTTPGet struct {
		Host, Path string
		Port       int
	} `yaml:"httpGet"`
}

// TestKubernetes checks the configurations of the DaemonSet's ConfigMap as 'pipelined check' does, and that names, paths and ports fit
// each other.
func TestKubernetes(t *testing.T) {
	t.Setenv("NODE_NAME", "node-1")
	file, err := os.Open(root + "dist/kubernetes/daemonset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	objects := make(map[string]manifest)
	for dec := yaml.NewDecoder(file); ; {
		var m manifest
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		objects[m.Kind] = m
	}
	configs, daemon := objects["ConfigMap"], objects["DaemonSet"]
	pod := daemon.Spec.Template.Spec
	if len(pod.Containers) != 1 || len(configs.Data) == 0 || !pod.HostNetwork {
		t.Fatalf("%+v", objects)
	}
	container := pod.Containers[0]
	var sources []string
	for name, text := range configs.Data {
		for _, problem := range check(t, text) {
			t.Errorf("%s: %s", name, problem)
		}
		f, _ := config.Parse(name, []byte(text))
		for _, c := range f.Pipeline.Sources {
			sources = append(sources, c.Plugin)
		}
		if metrics := f.Service.Metrics; metrics != "127.0.0.1:9464" {
			t.Errorf("%s: the metrics are at %s", name, metrics)
		}
	}
	slices.Sort(sources)
	if !slices.Equal(sources, []string{"afpacket", "conntrack"}) {
		t.Errorf("there are configurations for %v", sources)
	}
	if add := container.SecurityContext.Capabilities.Add; !slices.Equal(add, []string{"NET_ADMIN", "NET_RAW"}) {
		t.Errorf("capabilities %v", add)
	}
	for _, p := range []probe{container.LivenessProbe, container.ReadinessProbe} {
		if get := p.HTTPGet; get.Host != "127.0.0.1" || get.Port != 9464 || get.Path != "/healthz" {
			t.Errorf("probe %+v", get)
		}
	}
	mounts := make(map[string]string)
	for _, m := range container.VolumeMounts {
		mounts[m.Name] = m.MountPath
	}
	for _, v := range pod.Volumes {
		if mounts[v.Name] == "" || v.ConfigMap.Name != "" && v.ConfigMap.Name != configs.Metadata.Name {
			t.Errorf("volume %+v is mounted at %q", v, mounts[v.Name])
		}
		delete(mounts, v.Name)
		if v.ConfigMap.Name == "" {
			continue
		}
		if path := container.Args[len(container.Args)-1]; filepath.Dir(path) != "/etc/pipelined" || configs.Data[filepath.Base(path)] == "" {
			t.Errorf("the container reads %s", path)
		}
	}
	if len(mounts) > 0 {
		t.Errorf("no volume: %v", mounts)
	}
	for key, value := range daemon.Spec.Selector.MatchLabels {
		if daemon.Spec.Template.Metadata.Labels[key] != value {
			t.Errorf("the selector's %s is not that of the pods", key)
		}
	}
	if configs.Metadata.Namespace != daemon.Metadata.Namespace || objects["Namespace"].Metadata.Name != daemon.Metadata.Namespace {
		t.Error("the namespaces differ")
	}
}

// TestContainerfile checks that the image is built with the language's version that go.mod asks for, and has every command.
func TestContainerfile(t *testing.T) {
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(root + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	text := read("dist/container/Containerfile")
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read("go.mod"))
	if version == nil || !strings.Contains(text, "golang:"+version[1]+" ") {
		t.Errorf("go.mod wants %v", version)
	}
	commands, err := filepath.Glob(root + "cmd/*")
	if err != nil || len(commands) == 0 {
		t.Fatal(commands, err)
	}
	built := strings.Fields(strings.Join(regexp.MustCompile(`(?m)^RUN go build .*$`).FindAllString(text, -1), " "))
	for _, command := range commands {
		if name := "./cmd/" + filepath.Base(command); !slices.Contains(built, name) {
			t.Errorf("%s is not built", name)
		}
	}
	for _, needed := range []string{"CGO_ENABLED=0", `ENTRYPOINT ["/usr/bin/pipelined"]`, config.DefaultPluginDir + "/ "} {
		if !strings.Contains(text, needed) {
			t.Errorf("it lacks %s", needed)
		}
	}
}
