package tailweir_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed is the import graph of the product: what each package may import of ours. Imports go downwards only, so the
// lists are the whole truth about how the rooms are joined; ARCHITECTURE.md draws them.
var allowed = map[string][]string{
	"otlp":                  {},
	"strictyaml":            {},
	"queue":                 {},
	"queue/broker":          {},
	"tracestate":            {},
	"version":               {},
	"sampler":               {"otlp", "ottlcond", "strictyaml", "tracestate"},
	"ottlcond":              {"otlp"},
	"buffer":                {"otlp", "sampler"},
	"fleet":                 {"buffer", "otlp", "sampler"},
	"fleet/facts":           {"buffer", "fleet", "sampler"},
	"fleet/order":           {},
	"fleet/member":          {"buffer", "fleet", "fleet/facts", "fleet/order", "otlp", "sampler"},
	"exporter":              {"otlp", "version"},
	"exporter/gcp":          {"exporter", "otlp", "version"},
	"exporter/telemetry":    {"exporter", "exporter/gcp", "otlp"},
	"exporter/cloudtrace":   {"exporter", "exporter/gcp", "otlp"},
	"exporter/cloudlogging": {"exporter", "exporter/gcp", "otlp"},
	"receiver":              {"otlp"},
	"auth":                  {"otlp", "strictyaml"},
	"redact":                {"otlp", "strictyaml"},
	"forward":               {"exporter", "otlp"},
	"pipeline":              {"buffer", "exporter", "fleet", "otlp", "sampler", "tracestate"},
	"console":               {"otlp"},
	"service":               {"auth", "buffer", "console", "exporter", "exporter/cloudlogging", "exporter/cloudtrace", "exporter/gcp", "exporter/telemetry", "fleet", "fleet/member", "fleet/order", "forward", "otlp", "pipeline", "queue", "receiver", "redact", "sampler", "strictyaml", "version"},
	"probe":                 {"fleet/order", "queue", "queue/queuetest"}, // the suite is what a probe runs
	"cmd/ingest":            {"service"},
	"cmd/worker":            {"service"},
	"offline":               {"otlp", "redact", "sampler"},
	"otelcol":               {"sampler", "service", "strictyaml"},
	"cmd/tailweir":          {"auth", "console", "offline", "otelcol", "probe", "queue", "queue/broker", "sampler", "service", "strictyaml", "version"},
}

// forTests are imported by tests only (and by probe), and bench only by people: they may use what they like, and nobody else may
// use them.
var forTests = []string{"golden", "queue/queuetest", "exporter/exportertest", "exporter/googletest", "bench", "terraform"}

func TestImportsGoDownwards(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		name := strings.TrimPrefix(pkg.ImportPath, "tailweir/")
		if name == "tailweir" || isForTests(name) {
			continue
		}
		seen[name] = true
		may, known := allowed[name]
		if !known {
			t.Errorf("package %s is not in the import graph: give it a place in allowed and in ARCHITECTURE.md", name)
		}
		for _, i := range pkg.Imports {
			if i, ours := strings.CutPrefix(i, "tailweir/"); ours && !slices.Contains(may, i) {
				t.Errorf("package %s imports %s, which it may not: imports go downwards only", name, i)
			}
		}
	}
	for name := range allowed {
		if !seen[name] {
			t.Errorf("package %s is in the import graph, but does not exist", name)
		}
	}
}

func isForTests(name string) bool {
	return slices.ContainsFunc(forTests, func(p string) bool { return name == p || strings.HasPrefix(name, p+"/") })
}
