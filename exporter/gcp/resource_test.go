package gcp

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMonitoredResource(t *testing.T) {
	type attrs = map[string]string
	for _, test := range []struct {
		name   string
		attrs  attrs
		typ    string
		labels map[string]string
	}{
		{"Cloud Run service", attrs{"cloud.platform": "gcp_cloud_run", "cloud.account.id": "shop-prod", "cloud.region": "europe-west1",
			"faas.name": "cart", "faas.version": "cart-00007-abc", "faas.instance": "0087"},
			"cloud_run_revision", attrs{"project_id": "shop-prod", "location": "europe-west1", "service_name": "cart",
				"revision_name": "cart-00007-abc", "configuration_name": "cart"}},
		{"Cloud Run job", attrs{"cloud.platform": "gcp_cloud_run", "cloud.region": "europe-west1", "faas.name": "nightly",
			"gcp.cloud_run.job.execution": "nightly-x1", "gcp.cloud_run.job.task_index": "0"},
			"cloud_run_job", attrs{"location": "europe-west1", "job_name": "nightly"}},
		{"worker pool, as its owner says", attrs{"cloud.platform": "gcp_cloud_run", "cloud.region": "europe-west1", "faas.name": "pool",
			"faas.version": "pool-1", "gcp.resource_type": "cloud_run_worker_pool"},
			"cloud_run_worker_pool", attrs{"location": "europe-west1", "worker_pool_name": "pool", "revision_name": "pool-1"}},
		{"Cloud Run without a name", attrs{"cloud.platform": "gcp_cloud_run", "service.name": "cart"},
			"generic_task", attrs{"location": "global", "namespace": "", "job": "cart", "task_id": ""}},
		{"function", attrs{"cloud.platform": "gcp_cloud_functions", "cloud.region": "us-east1", "faas.name": "resize"},
			"cloud_function", attrs{"region": "us-east1", "function_name": "resize"}},
		{"App Engine", attrs{"cloud.platform": "gcp_app_engine", "cloud.availability_zone": "us16", "cloud.region": "us-central1",
			"faas.name": "default", "faas.version": "20260101t1"},
			"gae_app", attrs{"module_id": "default", "version_id": "20260101t1", "zone": "us16"}},
		{"Compute Engine", attrs{"cloud.platform": "gcp_compute_engine", "cloud.account.id": "Not A Project", "cloud.availability_zone": "us-central1-a",
			"host.id": "123", "host.name": "vm", "k8s.cluster.name": "k3s"},
			"gce_instance", attrs{"instance_id": "123", "zone": "us-central1-a"}},
		{"container", attrs{"cloud.platform": "gcp_kubernetes_engine", "cloud.account.id": "shop-prod", "cloud.region": "europe-west1", "k8s.cluster.name": "c",
			"k8s.namespace.name": "shop", "k8s.pod.name": "cart-1", "k8s.container.name": "app", "k8s.node.name": "n"},
			"k8s_container", attrs{"project_id": "shop-prod", "location": "europe-west1", "cluster_name": "c", "namespace_name": "shop",
				"pod_name": "cart-1", "container_name": "app"}},
		{"pod", attrs{"cloud.availability_zone": "europe-west1-b", "cloud.region": "europe-west1", "k8s.cluster.name": "c", "k8s.pod.name": "cart-1"},
			"k8s_pod", attrs{"location": "europe-west1-b", "cluster_name": "c", "namespace_name": "", "pod_name": "cart-1"}},
		{"node", attrs{"k8s.cluster.name": "c", "k8s.node.name": "n"}, "k8s_node", attrs{"location": "", "cluster_name": "c", "node_name": "n"}},
		{"cluster", attrs{"k8s.cluster.name": "c"}, "k8s_cluster", attrs{"location": "", "cluster_name": "c"}},
		{"task", attrs{"service.name": "cart", "service.namespace": "shop", "service.instance.id": "i-1", "host.name": "h", "cloud.account.id": "aws-account"},
			"generic_task", attrs{"location": "global", "namespace": "shop", "job": "cart", "task_id": "i-1"}},
		{"task with a made-up name", attrs{"service.name": "unknown_service:node", "faas.name": "resize", "faas.instance": "f-1", "cloud.region": "eu"},
			"generic_task", attrs{"location": "eu", "namespace": "", "job": "resize", "task_id": "f-1"}},
		{"made-up name and none else", attrs{"service.name": "unknown_service:node", "service.instance.id": "i-1"},
			"generic_task", attrs{"location": "global", "namespace": "", "job": "unknown_service:node", "task_id": "i-1"}},
		{"machine", attrs{"service.name": "cart", "host.name": "h"}, "generic_node", attrs{"location": "global", "namespace": "", "node_id": "h"}},
		{"only a service", attrs{"service.name": "cart"}, "generic_task", attrs{"location": "global", "namespace": "", "job": "cart", "task_id": ""}},
		{"nothing", nil, "global", attrs{}},
	} {
		typ, labels := ResourceOf(func(key string) (string, bool) { v, ok := test.attrs[key]; return v, ok })
		if diff := cmp.Diff(test.labels, labels); typ != test.typ || diff != "" {
			t.Errorf("%s: type %s, want %s; labels (-want +got):\n%s", test.name, typ, test.typ, diff)
		}
	}
}
