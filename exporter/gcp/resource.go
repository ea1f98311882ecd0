package gcp

import "strings"

// ResourceType may name the monitored resource's type on an OpenTelemetry resource. Google's detectors describe a worker pool
// of Cloud Run as they do a service (cloud.platform gcp_cloud_run, faas.name), so that only the app's owner can say so:
// OTEL_RESOURCE_ATTRIBUTES=gcp.resource_type=cloud_run_worker_pool. Only that value is read.
const ResourceType = "gcp.resource_type"

const workerPool = "cloud_run_worker_pool"

// ResourceOf returns the monitored resource for logs of an OpenTelemetry resource with the attributes that Google's
// detectors set: its type and the value of each of the type's labels, empty ones included. project_id is among them only if
// the attributes name the project that the app runs in; otherwise it is where the entries go. attr returns an attribute as text.
func ResourceOf(attr func(key string) (string, bool)) (typ string, labels map[string]string) {
	m := monitoredFor(attr)
	labels = make(map[string]string, len(m.labels)+1)
	for _, l := range m.labels {
		labels[l.name] = l.value(attr)
	}
	if project, _ := attr("cloud.account.id"); m.google && ValidProject(project) {
		labels["project_id"] = project
	}
	return m.typ, labels
}

type monitored struct {
	typ    string
	google bool // what it describes is in a project
	labels []label
}

// label takes the value of the first of the attributes that says something, else fallback.
type label struct {
	name, fallback string
	keys           []string
}

// anonymous begins the service names that SDKs make up.
const anonymous = "unknown_service"

func (l *label) value(attr func(string) (string, bool)) string {
	value := ""
	for _, key := range l.keys {
		v, _ := attr(key)
		if v != "" && !strings.HasPrefix(v, anonymous) {
			return v
		}
		if value == "" {
			value = v
		}
	}
	if value == "" {
		return l.fallback
	}
	return value
}

func of(name string, keys ...string) label { return label{name: name, keys: keys} }

// The types and labels as Logging lists them (docs.cloud.google.com/logging/docs/api/v2/resource-list). A Cloud Run service and
// its configuration have one name. gae_app has a zone, where the collector's exporter writes a location.
var (
	zone      = []string{"cloud.availability_zone", "cloud.region"}
	region    = []string{"cloud.region", "cloud.availability_zone"}
	cluster   = []label{of("location", zone...), of("cluster_name", "k8s.cluster.name")}
	pod       = append(cluster[:2:2], of("namespace_name", "k8s.namespace.name"), of("pod_name", "k8s.pod.name"))
	anyplace  = label{name: "location", keys: zone, fallback: "global"}
	namespace = of("namespace", "service.namespace")

	runRevision = monitored{"cloud_run_revision", true, []label{of("service_name", "faas.name"), of("revision_name", "faas.version"),
		of("configuration_name", "faas.name"), of("location", region...)}}
	runPool = monitored{workerPool, true, []label{of("worker_pool_name", "faas.name"), of("revision_name", "faas.version"),
		of("location", region...)}}
	runJob    = monitored{"cloud_run_job", true, []label{of("job_name", "faas.name"), of("location", region...)}}
	function  = monitored{"cloud_function", true, []label{of("function_name", "faas.name"), of("region", region...)}}
	appEngine = monitored{"gae_app", true, []label{of("module_id", "faas.name"), of("version_id", "faas.version"), of("zone", zone...)}}
	compute   = monitored{"gce_instance", true, []label{of("instance_id", "host.id"), of("zone", zone...)}}

	k8sContainer = monitored{"k8s_container", true, append(pod[:4:4], of("container_name", "k8s.container.name"))}
	k8sPod       = monitored{"k8s_pod", true, pod}
	k8sNode      = monitored{"k8s_node", true, append(cluster[:2:2], of("node_name", "k8s.node.name"))}
	k8sCluster   = monitored{"k8s_cluster", true, cluster}

	task = monitored{"generic_task", false, []label{anyplace, namespace, of("job", "service.name", "faas.name"),
		of("task_id", "service.instance.id", "faas.instance")}}
	node   = monitored{"generic_node", false, []label{anyplace, namespace, of("node_id", "host.id", "host.name")}}
	global = monitored{"global", false, nil}
)

func monitoredFor(attr func(string) (string, bool)) *monitored {
	has := func(key string) bool { v, _ := attr(key); return v != "" }
	platform, _ := attr("cloud.platform")
	switch {
	case platform == "gcp_cloud_run" && has("faas.name"):
		return cloudRun(attr)
	case platform == "gcp_cloud_functions" && has("faas.name"):
		return &function
	case platform == "gcp_app_engine" && has("faas.name"):
		return &appEngine
	case platform == "gcp_compute_engine" && has("host.id"):
		return &compute
	case has("k8s.cluster.name"): // wherever the cluster runs
		return kubernetes(has)
	case has("service.name") && has("service.instance.id"), has("faas.name") && has("faas.instance"):
		return &task
	case has("host.id") || has("host.name"):
		return &node
	case has("service.name"):
		return &task
	}
	return &global
}

func cloudRun(attr func(string) (string, bool)) *monitored {
	for _, key := range [...]string{"gcp.cloud_run.job.execution", "gcp.cloud_run.job.task_index"} {
		if _, ok := attr(key); ok {
			return &runJob
		}
	}
	if typ, _ := attr(ResourceType); typ == workerPool {
		return &runPool
	}
	return &runRevision
}

func kubernetes(has func(string) bool) *monitored {
	switch {
	case has("k8s.container.name"):
		return &k8sContainer
	case has("k8s.pod.name"):
		return &k8sPod
	case has("k8s.node.name"):
		return &k8sNode
	}
	return &k8sCluster
}
