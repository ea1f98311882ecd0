package otelcol

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"tailweir/golden"
	"tailweir/sampler"
	"tailweir/service"
)

// carry is what a collector's file comes to, and its losses with the lines in which they stand.
func carry(t *testing.T, src, processor string, compat sampler.Compat) (document, lost string) {
	t.Helper()
	f, err := Parse("otelcol.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Sampler(processor)
	if err != nil {
		t.Fatal(err)
	}
	b, lines, err := s.Carry(compat)
	if err != nil {
		t.Fatal(err)
	}
	cfg := service.Default()
	if err := cfg.Parse("carried.yaml", b); err != nil {
		t.Errorf("what is carried over is refused: %v\n%s", err, b)
	}
	policies, err := s.Policies(compat)
	if err != nil || cfg.Compiled.Hash() != policies.Hash() {
		t.Errorf("the policies carried over are others: %v", err)
	}
	return string(b), strings.Join(lines, "\n") + "\n"
}

func TestCarry(t *testing.T) {
	src, err := os.ReadFile("testdata/otelcol.yaml")
	if err != nil {
		t.Fatal(err)
	}
	document, lost := carry(t, string(src), "tail_sampling", "")
	golden.Check(t, "testdata/tailweir.golden", document)
	golden.Check(t, "testdata/lost.golden", lost)
}

// collector is a file with policies and an exporter.
func collector(policies, exporters string) string {
	return `receivers: {otlp: {protocols: {grpc: null}}}
processors:
  tail_sampling: {policies: [` + policies + `]}
exporters: {` + exporters + `}
service:
  pipelines:
    traces: {receivers: [otlp], processors: [tail_sampling], exporters: [x, otlp/x, otlphttp/x, otlp/y, googlecloud/x, googlecloud/y]}
    logs/1: {receivers: [otlp], exporters: [otlp/y, googlecloud/y]}
`
}

const all = "{name: all, type: always_sample}"

func TestCarryExporters(t *testing.T) {
	for name, tt := range map[string]struct{ exporter, want, lost string }{
		"grpc":         {"otlp/x: {endpoint: 'a:1'}", "{type: otlp, signals: [traces], endpoint: 'grpcs://a:1'}", ""},
		"plain grpc":   {"otlp/x: {endpoint: 'http://a:1', compression: none, timeout: 3s}", "{type: otlp, signals: [traces], endpoint: 'grpc://a:1', compression: none, timeout: 3s}", ""},
		"dns":          {"otlp/x: {endpoint: 'dns:///a:1', tls: {insecure: true}}", "{type: otlp, signals: [traces], endpoint: 'grpc://a:1'}", ""},
		"tls":          {"otlp/x: {endpoint: 'a:1', tls: {ca_file: c, insecure_skip_verify: true, min_version: '1.3'}}", "tls: {ca_file: c, insecure_skip_verify: true}", "4:85: exporters.otlp/x.tls.min_version: Tailweir's exporters have no such setting"},
		"logs too":     {"otlp/y: {endpoint: 'a:1'}", "{type: otlp, endpoint: 'grpcs://a:1'}", ""},
		"http":         {"otlphttp/x: {endpoint: 'https://a', headers: {k: '$${x}'}, encoding: json}", "{type: otlp, signals: [traces], endpoint: 'https://a', headers: {k: '${x}'}}", "4:72: exporters.otlphttp/x.encoding: Tailweir's exporters have no such setting"},
		"traces only":  {"otlphttp/x: {traces_endpoint: 'https://a/t'}", "traces_endpoint: 'https://a/t', logs_endpoint: 'https://a/t'", ""},
		"variable":     {"otlphttp/x: {endpoint: 'https://a', headers: {k: 'v ${env:V}'}}", "headers: {k: 'v ${env:V}'}", `4:62: "v ${env:V}": is kept as it is written`},
		"no address":   {"otlp/x: {endpoint: '${env:A}:1'}", "", "4:22: exporters.otlp/x.endpoint: is ${env:A}:1: Tailweir reads no variables"},
		"no endpoint":  {"otlphttp/x: {}", "", "4:13: exporters.otlphttp/x: otlp exporter endpoint"},
		"google":       {"googlecloud/x: {project: shop-prod, metric: {prefix: p}}", "{type: telemetry, project: shop-prod}", "exporters.googlecloud/x.metric: Tailweir's exporters have no such setting"},
		"google's API": {"googlecloud/x: {}", "{type: telemetry}", "exporters.googlecloud/x: carried over as telemetry"},
		"google logs":  {"googlecloud/y: {timeout: 12s, log: {default_log_name: app, service_resource_labels: false}}", "- {type: telemetry, timeout: 12s}\n  - {type: cloudlogging, timeout: 12s, log_name: app}", "exporters.googlecloud/y.log.service_resource_labels: Tailweir's"},
		"no text":      {"otlphttp/x: {endpoint: 'https://a', headers: [1]}", "endpoint: 'https://a'", "4:49: exporters.otlphttp/x.headers: is a list, want a mapping"},
	} {
		t.Run(name, func(t *testing.T) {
			document, lost := carry(t, collector(all, tt.exporter), "", "")
			if !strings.Contains(document, tt.want) || tt.want == "" && strings.Contains(document, "exporters:") {
				t.Errorf("want %s in\n%s", tt.want, document)
			}
			if !strings.Contains(lost, tt.lost) || tt.lost == "" && lost != "\n" {
				t.Errorf("want %s in\n%s", tt.lost, lost)
			}
		})
	}
}

func TestCarryReceivers(t *testing.T) {
	for name, tt := range map[string]struct{ receivers, want, lost string }{
		"subscription":       {"googlecloudpubsub: {project: p, subscription: s}", "project: p\nqueue:\n  subscription: s\n", "is carried"},
		"variables":          {"googlecloudpubsub: {subscription: 'projects/${env:P}/subscriptions/s'}", "", "subscription: is projects/${env:P}/subscriptions/s: Tailweir reads no variables"},
		"listen by default":  {"otlp: {protocols: {grpc: , http: {}}}", "ingest:\n  listen: ['localhost:4317', 'localhost:4318']\n", ""},
		"listen on variable": {"otlp: {protocols: {grpc: {endpoint: '${env:IP}:1'}, http: {endpoint: 'h:2'}, thrift: {}}}", "ingest:\n  listen: ['h:2']\n", "receivers.otlp.protocols.grpc.endpoint: is ${env:IP}:1"},
		"protocol":           {"otlp: {protocols: {thrift: {}}}", "", "receivers.otlp.protocols.thrift: Tailweir has no such protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			typ, _, _ := strings.Cut(tt.receivers, ":")
			src := fmt.Sprintf("receivers: {%s}\nprocessors: {tail_sampling: {policies: [%s]}}\nservice: {pipelines: {traces: {receivers: [%s], processors: [tail_sampling]}}}\n", tt.receivers, all, typ)
			document, lost := carry(t, src, "", "")
			if !strings.Contains(document, tt.want) || tt.want == "" && strings.Contains(document, "queue:") {
				t.Errorf("want %s in\n%s", tt.want, document)
			}
			if !strings.Contains(lost, strings.Replace(tt.lost, "is carried", "carried over as queue.subscription", 1)) {
				t.Errorf("want %s in\n%s", tt.lost, lost)
			}
		})
	}
}

func TestWindowIsTheCollectors(t *testing.T) {
	for options, want := range map[string]string{
		"num_shards: 2": "window:\n  settle: 30s\n  idle: 30s\n  max_age: 30s\n",
		"decision_wait: 9s, decision_wait_after_root_received: 2s, num_traces: 5, decision_cache: {sampled_cache_size: 6}": "window:\n  settle: 2s\n  idle: 9s\n  max_age: 9s\n  max_traces: 5\n  history: 6\n",
	} {
		document, _ := carry(t, "processors: {tail_sampling: {"+options+", policies: ["+all+"]}}\n", "", "")
		if !strings.Contains(document, want) {
			t.Errorf("%s: want\n%s in\n%s", options, want, document)
		}
	}
}

// What is an option of the block and decides stays in a block; so does compat.
func TestCarryStrict(t *testing.T) {
	document, _ := carry(t, "processors: {tail_sampling: {sample_on_first_match: true, maximum_trace_size_bytes: 7, policies: ["+all+"]}}\n", "", sampler.Strict)
	want := "compat: strict\ntail_sampling:\n  sample_on_first_match: true\n  maximum_trace_size_bytes: 7\n  policies: [{name: all, type: always_sample}]\n"
	if !strings.Contains(document, want) {
		t.Errorf("want\n%s in\n%s", want, document)
	}
}

func TestFaultsAreInTheCollectorsFile(t *testing.T) {
	for name, tt := range map[string]struct{ src, processor, want string }{
		"policy":      {collector("{name: slow, type: latency, latency: {treshold_ms: 3}}", ""), "", `otelcol.yaml:3:68: tail_sampling.policies[0].latency.treshold_ms: unknown key, did you mean "threshold_ms"?`},
		"variable":    {collector("{name: p, type: probabilistic, probabilistic: {sampling_percentage: '${env:P}'}}", ""), "", `otelcol.yaml:3:98: tail_sampling.policies[0].probabilistic.sampling_percentage: is "${env:P}", want a number`},
		"none":        {"processors: {batch: {}}\n", "", "otelcol.yaml: has no processor tail_sampling"},
		"empty":       {"processors: {tail_sampling: }\n", "", "otelcol.yaml:1:29: tail_sampling: has no value"},
		"another":     {"processors: {tail_sampling/a: {}}\n", "b", `has no processor "b": want one of tail_sampling/a (in no pipeline)`},
		"several":     {"processors: {tail_sampling/a: {}, tail_sampling/b: {}}\nservice: {pipelines: {traces: {processors: [tail_sampling/b]}}}\n", "", "choose one with --processor: tail_sampling/a (in no pipeline), tail_sampling/b"},
		"no mapping":  {"processors: [tail_sampling]\n", "", "otelcol.yaml:1:13: processors: is a list, want a mapping"},
		"unknown key": {"procesors: {}\n", "", `otelcol.yaml:1:1: procesors: unknown key, did you mean "processors"?`},
		"nothing":     {"", "", "otelcol.yaml: the document is empty"},
		"no YAML":     {"a: [\n", "", "otelcol.yaml:"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Parse("otelcol.yaml", []byte(tt.src))
			var s *Sampler
			if err == nil {
				s, err = f.Sampler(tt.processor)
			}
			if err == nil {
				_, _, err = s.Carry("")
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestSamplerByItsName(t *testing.T) {
	f, err := Parse("c.yaml", []byte("processors: {tail_sampling: {}, tail_sampling/b: {}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "tail_sampling/b", "tail_sampling"} {
		s, err := f.Sampler(name)
		if want := strings.Replace(name, "b", "tail_sampling/b", map[bool]int{true: 1}[name == "b"]); err != nil || s.ID != want {
			t.Errorf("%s: %v, %v, want %s", name, s, err, want)
		}
	}
}
