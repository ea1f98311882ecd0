package main

import (
	"maps"
	"os"
	"slices"
	"strings"
)

// environment is what an app gets beside PATH and HOME: where to send, everything in as few requests as it can, and a
// resource as Google's detectors make it, since there is no metadata server here.
func environment(app, endpoint string) []string {
	env := map[string]string{
		"PATH":                          os.Getenv("PATH"),
		"HOME":                          os.Getenv("HOME"),
		"OTEL_EXPORTER_OTLP_ENDPOINT":   endpoint,
		"OTEL_EXPORTER_OTLP_PROTOCOL":   "http/protobuf",
		"OTEL_TRACES_EXPORTER":          "otlp",
		"OTEL_LOGS_EXPORTER":            "otlp",
		"OTEL_METRICS_EXPORTER":         "none",
		"OTEL_BSP_SCHEDULE_DELAY":       "60000",
		"OTEL_BLRP_SCHEDULE_DELAY":      "60000",
		"OTEL_SEMCONV_STABILITY_OPT_IN": "http",
		"OTEL_NODE_RESOURCE_DETECTORS":  "env",
		"OTEL_SERVICE_NAME":             "shop-" + app,
		"OTEL_RESOURCE_ATTRIBUTES":      strings.Join(resources[app], ","),
		"OTEL_JAVAAGENT_LOGGING":        "none",
		"OTEL_JAVA_DISABLED_RESOURCE_PROVIDERS": strings.Join([]string{
			"io.opentelemetry.instrumentation.resources.ContainerResourceProvider",
			"io.opentelemetry.instrumentation.resources.HostIdResourceProvider",
			"io.opentelemetry.instrumentation.resources.HostResourceProvider",
			"io.opentelemetry.instrumentation.resources.OsResourceProvider",
			"io.opentelemetry.instrumentation.resources.ProcessResourceProvider",
			"io.opentelemetry.instrumentation.resources.ProcessRuntimeResourceProvider",
		}, ","),
		"OTEL_INSTRUMENTATION_HTTP_SERVER_CAPTURE_REQUEST_HEADERS":                             "x-basket,accept",
		"OTEL_INSTRUMENTATION_HTTP_CLIENT_CAPTURE_RESPONSE_HEADERS":                            "content-type",
		"OTEL_INSTRUMENTATION_LOGBACK_APPENDER_EXPERIMENTAL_CAPTURE_KEY_VALUE_PAIR_ATTRIBUTES": "true",
		"OTEL_INSTRUMENTATION_LOGBACK_APPENDER_EXPERIMENTAL_CAPTURE_CODE_ATTRIBUTES":           "true",
		"OTEL_INSTRUMENTATION_LOGBACK_APPENDER_EXPERIMENTAL_CAPTURE_MDC_ATTRIBUTES":            "*",
	}
	lines := make([]string, 0, len(env))
	for _, key := range slices.Sorted(maps.Keys(env)) {
		lines = append(lines, key+"="+env[key])
	}
	return lines
}

// resources are of one platform each: Cloud Run, GKE and Compute Engine.
var resources = map[string][]string{
	"node": {
		"cloud.provider=gcp", "cloud.platform=gcp_cloud_run", "cloud.account.id=shop-project", "cloud.region=europe-west1",
		"faas.name=shop-front", "faas.version=shop-front-00042-kuk", "faas.instance=0069c7a988f5a2b1d4e3",
		"service.namespace=shop", "service.version=1.4.2", "service.instance.id=front-1",
	},
	"go": {
		"cloud.provider=gcp", "cloud.platform=gcp_kubernetes_engine", "cloud.account.id=shop-project", "cloud.availability_zone=europe-west1-b",
		"k8s.cluster.name=shop", "k8s.namespace.name=checkout", "k8s.pod.name=checkout-7d4b9c6f5-x2x7z", "k8s.container.name=checkout",
		"service.namespace=shop", "service.version=2.0.0",
	},
	"java": {
		"cloud.provider=gcp", "cloud.platform=gcp_compute_engine", "cloud.account.id=shop-project", "cloud.availability_zone=europe-west1-c",
		"host.id=4520031799277581759", "deployment.environment.name=production", "service.namespace=shop", "service.version=7.1",
	},
}
