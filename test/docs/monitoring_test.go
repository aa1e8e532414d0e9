package docs

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/internal/testing/collectors"
)

const (
	rulesFile     = "dist/prometheus/pipelined.rules.yml"
	dashboardFile = "dist/grafana/pipelined.json"
)

// alertRule is what the tests look at of an alert rule.
type alertRule struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func alertRules(t *testing.T) (rules []alertRule) {
	t.Helper()
	text, err := os.ReadFile(root + rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []alertRule } }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		rules = append(rules, group.Rules...)
	}
	if len(rules) == 0 {
		t.Fatalf("%s has no rules", rulesFile)
	}
	return rules
}

// series are the labels and their values of each metric.
type series map[string]map[string]map[string]bool

func (s series) add(metric, label, value string) {
	if s[metric] == nil {
		s[metric] = make(map[string]map[string]bool)
	}
	if s[metric][label] == nil {
		s[metric][label] = make(map[string]bool)
	}
	s[metric][label][value] = true
}

// addTarget adds the labels that Prometheus adds.
func (s series) addTarget(metric string) {
	s.add(metric, "job", "pipelined")
	s.add(metric, "instance", "fw1:9464")
}

// exposed returns what the shipped pipeline shows when it has run, what a server of every metric there is shows, and what Prometheus adds.
// The counters of sources and sinks that are not in it are those that their code names.
func exposed(t *testing.T) series {
	t.Helper()
	found := make(series)
	for _, snapshot := range []func() metrics.Snapshot{full, shipped(t).Snapshot} {
		w := httptest.NewRecorder()
		metrics.Handler(metrics.NewCollector(snapshot), func() any { return 1 }, func() error { return nil }).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		p := expfmt.NewTextParser(model.UTF8Validation)
		families, err := p.TextToMetricFamilies(w.Body)
		if err != nil || len(families) == 0 {
			t.Fatalf("%d: %d families: %v", w.Code, len(families), err)
		}
		for name, family := range families {
			for _, m := range family.GetMetric() {
				for _, l := range m.GetLabel() {
					found.add(name, l.GetName(), l.GetValue())
				}
			}
		}
		for name := range families {
			found.addTarget(name)
		}
	}
	found.addTarget("up")
	for name := range served(t) {
		found.addTarget(name)
	}
	for metric, folders := range map[string][]string{
		"pipelined_source_total": {"sources/*/*.go"}, "pipelined_sink_total": {"sinks/*/*.go", "internal/pluginhost/*.go"},
	} {
		for _, name := range literals(t, folders...) {
			found.add(metric, "counter", name)
		}
	}
	return found
}

var literal = regexp.MustCompile(`"([a-z][a-z_]+)"`)

// literals returns the words in quotes in the Go files that do not test.
func literals(t *testing.T, patterns ...string) (words []string) {
	t.Helper()
	for _, pattern := range patterns {
		files, err := filepath.Glob(root + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files: %v", pattern, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(file, "_test.go") {
				for _, m := range literal.FindAllStringSubmatch(string(text), -1) {
					words = append(words, m[1])
				}
			}
		}
	}
	return words
}

// faults returns what an expression, and a text with labels of its result, name that does not exist: a metric, a label, or a value of a
// label that does not come with the configuration.
func (s series) faults(expression, text string) (faults []string) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		return []string{err.Error()}
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			if s[n.Name] == nil {
				faults = append(faults, "no metric "+n.Name)
				return nil
			}
			for _, m := range n.LabelMatchers {
				if m.Name != model.MetricNameLabel {
					faults = append(faults, s.unmatched(n.Name, m)...)
				}
			}
		case *parser.AggregateExpr:
			for _, label := range n.Grouping {
				if !s.has(n, label) {
					faults = append(faults, fmt.Sprintf("no label %s in %s", label, n.Expr))
				}
			}
		}
		return nil
	})
	for _, m := range template.FindAllStringSubmatch(text, -1) {
		if !s.has(expr, m[1]) {
			faults = append(faults, fmt.Sprintf("%q has a label that %s does not have", text, expression))
		}
	}
	return faults
}

// template is where a label is put into a text.
var template = regexp.MustCompile(`\{\{ *(?:\$labels\.)?(\w+) *\}\}`)

// has reports whether a metric in the expression has the label.
func (s series) has(expr parser.Expr, label string) (found bool) {
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if n, ok := node.(*parser.VectorSelector); ok && s[n.Name][label] != nil {
			found = true
		}
		return nil
	})
	return found
}

// unmatched returns a label that does not exist, and each alternative of a value that no series has.
func (s series) unmatched(metric string, m *labels.Matcher) (faults []string) {
	values := s[metric][m.Name]
	if values == nil {
		return []string{"no label " + m.Name + " in " + metric}
	}
	if strings.HasPrefix(m.Value, "$") { // a variable of the dashboard
		return nil
	}
	kind := labels.MatchEqual
	if m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp {
		kind = labels.MatchRegexp
	}
	for alternative := range strings.SplitSeq(m.Value, "|") {
		one := labels.MustNewMatcher(kind, m.Name, alternative)
		if !slices.ContainsFunc(slices.Collect(maps.Keys(values)), one.Matches) {
			faults = append(faults, fmt.Sprintf("no series of %s has %s", metric, one))
		}
	}
	return faults
}

// Every alert rule is about metrics that the daemon has, and is explained.
func TestAlertRules(t *testing.T) {
	known, page := exposed(t), onePage(t, "docs/monitoring.md")
	named := make(map[string]bool)
	for _, rule := range alertRules(t) {
		if named[rule.Alert] {
			t.Errorf("two alerts are named %s", rule.Alert)
		}
		named[rule.Alert] = true
		for _, annotation := range []string{"summary", "description"} {
			if rule.Annotations[annotation] == "" {
				t.Errorf("%s has no %s", rule.Alert, annotation)
			}
			for _, fault := range known.faults(rule.Expr, rule.Annotations[annotation]) {
				t.Errorf("%s: %s", rule.Alert, fault)
			}
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, rule.Labels["severity"]) {
			t.Errorf("%s has the severity %q", rule.Alert, rule.Labels["severity"])
		}
		if !strings.Contains(page.prose, "\n### "+rule.Alert+"\n") {
			t.Errorf("%s does not say what to do about %s", page.name, rule.Alert)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^### (Pipelined\w+)$`).FindAllStringSubmatch(page.prose, -1) {
		if !named[m[1]] {
			t.Errorf("%s explains %s, which does not exist", page.name, m[1])
		}
	}
}

// What does not exist is reported.
func TestFaults(t *testing.T) {
	known := exposed(t)
	for _, c := range []struct {
		expr, text, want string
	}{
		{`rate(pipelined_packets_total{outcome="passed"}[5m])`, "{{outcome}} of {{ $labels.instance }}", ""},
		{`rate(pipelined_packets_total{outcome="passed"}[5m)`, "", "unexpected"},
		{`pipelined_packet_total`, "", "no metric pipelined_packet_total"},
		{`pipelined_packets_total{out="passed"}`, "", "no label out"},
		{`pipelined_packets_total{outcome=~"passed|past"}`, "", `outcome=~"past"`},
		{`pipelined_source_total{counter=~"rx_droped|rx_ring_full"}`, "", `counter=~"rx_droped"`},
		{`sum by (sink) (pipelined_packets_total)`, "", "no label sink"},
		{`pipelined_packets_total`, "{{ sink }}", "has a label"},
	} {
		got := strings.Join(known.faults(c.expr, c.text), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.expr, got, c.want)
		}
	}
}

// What the rules make of series is what the file of tests says, which has each alert firing and each quiet.
func TestAlertRulesOverTime(t *testing.T) {
	const file = "testdata/pipelined.rules.test.yml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var tests struct {
		Tests []struct {
			Rules []struct {
				Alert    string     `yaml:"alertname"`
				Expected []struct{} `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(text, &tests); err != nil {
		t.Fatal(err)
	}
	fires, quiet := make(map[string]bool), make(map[string]bool)
	for _, test := range tests.Tests {
		for _, r := range test.Rules {
			fires[r.Alert] = fires[r.Alert] || len(r.Expected) > 0
			quiet[r.Alert] = quiet[r.Alert] || len(r.Expected) == 0
		}
	}
	for _, rule := range alertRules(t) {
		if !fires[rule.Alert] || !quiet[rule.Alert] {
			t.Errorf("%s: %s fires: %v, is quiet: %v", file, rule.Alert, fires[rule.Alert], quiet[rule.Alert])
		}
	}
	promtool := collectors.Promtool(t)
	for _, args := range [][]string{{"check", "rules", root + rulesFile}, {"test", "rules", file}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// panel is what the test looks at of a panel.
type panel struct {
	ID          int
	Type, Title string
	Description string
	Datasource  datasource
	GridPos     struct{ H, W, X, Y int }
	Targets     []struct {
		RefID, Expr, LegendFormat string
		Datasource                datasource
	}
	FieldConfig struct{ Defaults struct{ Unit string } }
	Panels      []panel
}

type datasource struct{ Type, UID string }

// The dashboard shows metrics that the daemon has, by the data source that is chosen, each panel with an id of its own, a place of its own and
// a unit.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile(root + dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		ID         *int
		UID, Title string
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
		Annotations struct {
			List []struct {
				Expr       string
				Datasource datasource
			}
		}
		Panels []panel
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.UID == "" || d.Title == "" || d.ID != nil {
		t.Errorf("uid %q, title %q, id %v: an id belongs to one Grafana", d.UID, d.Title, d.ID)
	}
	variables := make(map[string]string)
	for _, v := range d.Templating.List {
		variables[v.Name] = v.Type
	}
	if variables["datasource"] != "datasource" || variables["job"] != "query" || variables["instance"] != "query" {
		t.Errorf("variables %v", variables)
	}
	known, chosen := exposed(t), datasource{"prometheus", "${datasource}"}
	for _, v := range d.Templating.List {
		for _, name := range regexp.MustCompile(`pipelined_\w+`).FindAllString(v.Definition, -1) {
			if known[name] == nil {
				t.Errorf("variable %s: no metric %s", v.Name, name)
			}
		}
	}
	substitute := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h").Replace
	for _, a := range d.Annotations.List {
		for _, fault := range known.faults(substitute(a.Expr), "") {
			t.Errorf("annotation: %s", fault)
		}
		if a.Datasource != chosen {
			t.Errorf("annotation: data source %v", a.Datasource)
		}
	}
	ids, places := make(map[int]bool), make(map[[2]int]string)
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] {
			t.Errorf("%s: the id %d is missing or another panel's, too", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W == 0 || p.GridPos.H == 0 {
			t.Errorf("%s: %+v is not on the page", p.Title, p.GridPos)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if places[at] != "" {
					t.Fatalf("%s is over %s", p.Title, places[at])
				}
				places[at] = p.Title
			}
		}
		if p.Type == "row" {
			if len(p.Panels) > 0 {
				t.Errorf("row %s has panels that this test does not look at", p.Title)
			}
			continue
		}
		if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 || p.Datasource != chosen {
			t.Errorf("panel %d, %q: title, description, unit, targets or the data source is missing", p.ID, p.Title)
		}
		refs := make(map[string]bool)
		for _, target := range p.Targets {
			if target.RefID == "" || refs[target.RefID] || target.Datasource != chosen {
				t.Errorf("%s: target %q, data source %v", p.Title, target.RefID, target.Datasource)
			}
			refs[target.RefID] = true
			for _, fault := range known.faults(substitute(target.Expr), target.LegendFormat) {
				t.Errorf("%s: %s", p.Title, fault)
			}
			for _, m := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(substitute(target.Expr), -1) {
				if variables[m[1]] == "" {
					t.Errorf("%s: no variable %s", p.Title, m[1])
				}
			}
		}
	}
}
