package logging

import "strings"

type attrs = map[string]any

// platforms are resources as Google's detectors make them, with what is left away or is there in addition.
var platforms = map[string]attrs{
	"none": {},
	"Cloud Run": {"cloud.provider": "gcp", "cloud.platform": "gcp_cloud_run", "cloud.account.id": project, "cloud.region": "europe-west1",
		"faas.name": "cart", "faas.version": "cart-00007", "faas.instance": "0087", "service.name": "cart"},
	"Cloud Run, service id": {"cloud.platform": "gcp_cloud_run", "cloud.region": "europe-west1", "faas.name": "cart", "faas.version": "cart-00007",
		"faas.instance": "0087", "service.name": "cart", "service.instance.id": "i", "service.namespace": "shop"},
	"Cloud Run job": {"cloud.platform": "gcp_cloud_run", "cloud.region": "europe-west1", "faas.name": "nightly", "faas.instance": "0087",
		"gcp.cloud_run.job.execution": "nightly-x1", "gcp.cloud_run.job.task_index": "0"},
	"worker pool": {"cloud.platform": "gcp_cloud_run", "cloud.region": "europe-west1", "faas.name": "pool", "faas.version": "pool-1",
		"faas.instance": "0087", "gcp.resource_type": "cloud_run_worker_pool"},
	"Cloud Run, nameless": {"cloud.platform": "gcp_cloud_run", "service.name": "cart"},
	"function": {"cloud.platform": "gcp_cloud_functions", "cloud.region": "us-east1", "faas.name": "resize", "faas.version": "3",
		"faas.instance": "1"},
	"App Engine": {"cloud.platform": "gcp_app_engine", "cloud.availability_zone": "us16", "cloud.region": "us-central1", "faas.name": "default",
		"faas.version": "20260101t1", "faas.instance": "aef"},
	"Compute Engine": {"cloud.platform": "gcp_compute_engine", "cloud.account.id": project, "cloud.availability_zone": "us-central1-a",
		"cloud.region": "us-central1", "host.id": "123", "host.name": "vm", "service.name": "cart"},
	"Compute Engine, other": {"cloud.platform": "gcp_compute_engine", "cloud.account.id": "other-project", "cloud.availability_zone": "us-central1-a",
		"host.id": "123"},
	"Compute Engine, bare": {"cloud.platform": "gcp_compute_engine"},
	"container": {"cloud.platform": "gcp_kubernetes_engine", "cloud.account.id": project, "cloud.availability_zone": "europe-west1-b",
		"k8s.cluster.name": "c", "k8s.namespace.name": "shop", "k8s.pod.name": "cart-1", "k8s.container.name": "app", "k8s.node.name": "n", "service.name": "cart"},
	"container, region": {"cloud.platform": "gcp_kubernetes_engine", "cloud.region": "europe-west1", "k8s.cluster.name": "c",
		"k8s.namespace.name": "shop", "k8s.pod.name": "cart-1", "k8s.container.name": "app"},
	"pod": {"cloud.availability_zone": "europe-west1-b", "cloud.region": "europe-west1", "k8s.cluster.name": "c",
		"k8s.namespace.name": "shop", "k8s.pod.name": "cart-1"},
	"node":    {"cloud.region": "europe-west1", "k8s.cluster.name": "c", "k8s.node.name": "n"},
	"cluster": {"cloud.platform": "gcp_kubernetes_engine", "k8s.cluster.name": "c"},
	"GKE, cluster unknown": {"cloud.platform": "gcp_kubernetes_engine", "cloud.region": "europe-west1", "k8s.pod.name": "cart-1", "service.name": "cart",
		"service.instance.id": "i"},
	"EC2": {"cloud.platform": "aws_ec2", "cloud.account.id": "1234", "cloud.region": "eu-west-1", "cloud.availability_zone": "eu-west-1a",
		"host.id": "i-1"},
	"bare metal":                {"cloud.platform": "gcp_bare_metal_solution", "cloud.region": "europe-west1", "host.id": "b1"},
	"task":                      {"service.name": "cart", "service.namespace": "shop", "service.instance.id": "cart-7", "cloud.region": "here"},
	"task of a function's name": {"faas.name": "f", "faas.instance": "1"},
	"task, unknown service":     {"service.name": "unknown_service:java", "service.instance.id": "x", "faas.name": "f"},
	"service":                   {"service.name": "cart", "host.name": "h"},
	"service without id":        {"service.name": "cart"},
	"host":                      {"host.id": "h1", "host.name": "h", "service.namespace": "shop"},
	"empty attributes":          {"service.name": "", "service.instance.id": "", "cloud.platform": "", "k8s.cluster.name": ""},
	"other types":               {"cloud.platform": int64(1), "service.name": int64(7), "service.instance.id": true},
	"bad UTF-8":                 {"service.name": "a\xff", "service.instance.id": "b\xff"},
	"project":                   {"gcp.project.id": "tenant-project", "service.name": "cart"},
	"project, OTLP's":           {"gcp.project_id": "tenant-project", "service.name": "cart"},
	"both projects":             {"gcp.project.id": "tenant-project", "gcp.project_id": "tenant-project2", "service.name": "cart"},
	"project of no use":         {"gcp.project.id": "", "service.name": "cart"},
	"many attributes":           {"a": "b", "host.arch": "amd64", "deployment.environment.name": "production", "service.version": "1"},
}

func resources() (all []trait) {
	for _, name := range sorted(platforms) {
		all = append(all, trait{"resource " + name, func(p place) { must(p.resource.Resource().Attributes().FromRaw(platforms[name])) }})
	}
	return all
}

func scopes() []trait {
	return []trait{
		{"scope", func(p place) {
			p.scope.Scope().SetName("lib")
			p.scope.Scope().SetVersion("1.2")
		}},
		{"scope without version", func(p place) { p.scope.Scope().SetName("lib") }},
		{"version without scope", func(p place) { p.scope.Scope().SetVersion("1.2") }},
		{"scope with attributes", func(p place) {
			p.scope.Scope().SetName("lib")
			p.scope.Scope().Attributes().PutStr("k", "v")
		}},
		{"scope with bad UTF-8", func(p place) { p.scope.Scope().SetName("lib\xff") }},
		{"long scope", func(p place) { p.scope.Scope().SetName(strings.Repeat("s", 70_000)) }},
		{"schema", func(p place) { p.scope.SetSchemaUrl("https://opentelemetry.io/schemas/1.40.0") }},
	}
}
