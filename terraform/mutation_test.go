package terraform_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// mutations are breakages of the module of one line each, as a tired person makes them: the first line of file that has old gets new
// instead. after, if set, is text that stands before that line: the line of this resource, not of another.
var mutations = []struct{ file, after, old, new string }{
	{"apis.tf", "", `"telemetry.googleapis.com"`, `"monitoring.googleapis.com"`},
	{"apis.tf", "", `disable_on_destroy = false`, `disable_on_destroy = true`},
	{"pubsub.tf", `"google_pubsub_topic" "payloads"`, `kms_key_name               = var.kms_key_name`, `kms_key_name               = null`},
	{"pubsub.tf", `"google_pubsub_topic" "payloads"`, `allowed_persistence_regions = local.storage_regions`, `allowed_persistence_regions = ["us-central1"]`},
	{"pubsub.tf", `"google_pubsub_topic" "facts"`, `enforce_in_transit          = var.enforce_in_transit`, `enforce_in_transit          = true`},
	{"pubsub.tf", `"google_pubsub_topic" "log"`, `allowed_persistence_regions = [var.region]`, `allowed_persistence_regions = local.storage_regions`},
	{"pubsub.tf", `"google_pubsub_topic" "log"`, `>= local.durations.replay + 60`, `>= local.durations.replay - 60`},
	{"pubsub.tf", `"google_pubsub_topic" "log"`, `message_retention_duration = var.log_retention`, `message_retention_duration = "600s"`},
	{"pubsub.tf", `"google_pubsub_subscription" "payloads"`, `enable_message_ordering      = false`, `enable_message_ordering      = true`},
	{"pubsub.tf", `"google_pubsub_subscription" "payloads"`, `enable_exactly_once_delivery = false`, `enable_exactly_once_delivery = true`},
	{"pubsub.tf", `"google_pubsub_subscription" "payloads"`, `ttl = "" # never`, `ttl = "2678400s" # never`},
	{"pubsub.tf", `"google_pubsub_subscription" "payloads"`, `retain_acked_messages      = false`, `retain_acked_messages      = true`},
	{"pubsub.tf", `"google_pubsub_subscription" "payloads"`, `  dead_letter_policy {`, "  retry_policy {\n    minimum_backoff = \"10s\"\n  }\n  dead_letter_policy {"},
	{"pubsub.tf", `"google_pubsub_subscription" "payloads"`, `dead_letter_topic     = google_pubsub_topic.dead_letters.id`, `dead_letter_topic     = google_pubsub_topic.facts.id`},
	{"pubsub.tf", `"google_pubsub_subscription" "payloads"`, `max_delivery_attempts = var.max_delivery_attempts`, `max_delivery_attempts = 5`},
	{"pubsub.tf", `"google_pubsub_subscription" "payloads"`, `ack_deadline_seconds       = var.ack_deadline_seconds`, `ack_deadline_seconds       = 60`},
	{"pubsub.tf", `"google_pubsub_subscription" "facts"`, `message_retention_duration   = "600s"`, `message_retention_duration   = "604800s"`},
	{"pubsub.tf", `"google_pubsub_subscription" "facts"`, `topic                        = google_pubsub_topic.facts.id`, `topic                        = google_pubsub_topic.payloads.id`},
	{"pubsub.tf", `"google_pubsub_subscription" "dead_letters"`, `ttl = ""`, `ttl = "86400s"`},
	{"pubsub.tf", "", `"${var.name}-log-")`, `"${var.name}-")`},
	{"metrics.tf", "", `"${var.name}-metrics"`, `"tailweir-metrics"`},
	{"metrics.tf", `"google_pubsub_topic" "metrics"`, `kms_key_name = var.kms_key_name`, `kms_key_name = null`},
	{"metrics.tf", `"google_pubsub_topic" "metrics"`, `contains(try(e.signals, []), "metrics")`, `true`},
	{"metrics.tf", `"google_pubsub_subscription" "metrics"`, `enable_message_ordering      = false`, `enable_message_ordering      = true`},
	{"metrics.tf", `"google_pubsub_subscription" "metrics"`, `count                = var.metrics_forward ? 1 : 0`, `count                = 1`},
	{"metrics.tf", `"google_pubsub_subscription" "metrics"`, `message_retention_duration = var.subscription_retention`, `message_retention_duration = "604800s"`},
	{"metrics.tf", `"ingest_publishes_metrics"`, `google_service_account.ingest.member`, `google_service_account.worker.member`},
	{"metrics.tf", `"worker_pulls_metrics"`, `roles/pubsub.subscriber`, `roles/pubsub.viewer`},
	{"metrics.tf", `"agent_acks_metrics"`, `local.pubsub_agent`, `google_service_account.worker.member`},
	{"config.tf", "", `  }, local.metrics_env)`, `  })`},
	{"config.tf", "", `}, local.metrics_env, trimspace`, `}, trimspace`},
	{"iam.tf", `"ingest_publishes_payloads"`, `topic   = google_pubsub_topic.payloads.name`, `topic   = google_pubsub_topic.log.name`},
	{"iam.tf", `"ingest_publishes_payloads"`, `roles/pubsub.publisher`, `roles/pubsub.editor`},
	{"iam.tf", `"worker_publishes"`, `dead_letters = google_pubsub_topic.dead_letters.name`, ``},
	{"iam.tf", `"worker_pulls"`, `roles/pubsub.subscriber`, `roles/pubsub.viewer`},
	{"iam.tf", `"worker_pulls"`, `facts    = google_pubsub_subscription.facts.name`, `facts    = google_pubsub_subscription.dead_letters.name`},
	{"iam.tf", `"log_reader"`, `"pubsub.subscriptions.delete"]`, `"pubsub.subscriptions.delete", "pubsub.topics.delete"]`},
	{"iam.tf", `"log_topic"`, `"pubsub.topics.attachSubscription", `, ``},
	{"iam.tf", `"worker_reads_log"`, `role    = google_project_iam_custom_role.log_reader.id`, `role    = "roles/pubsub.editor"`},
	{"iam.tf", `"worker_reads_log"`, `member  = google_service_account.worker.member`, `member  = google_service_account.ingest.member`},
	{"iam.tf", `"agent_publishes_dead_letters"`, `member  = local.pubsub_agent`, `member  = google_service_account.worker.member`},
	{"iam.tf", `"agent_acks_payloads"`, `subscription = google_pubsub_subscription.payloads.name`, `subscription = google_pubsub_subscription.dead_letters.name`},
	{"iam.tf", "", `@gcp-sa-pubsub.iam`, `@gcp-sa-pubsubs.iam`},
	{"iam.tf", `"worker_writes_traces"`, `roles/telemetry.writer`, `roles/editor`},
	{"iam.tf", `"worker_writes_logs"`, `setunion(local.export_projects, [var.project_id])`, `local.export_projects`},
	{"iam.tf", "", `secrets = "gcp-sa-secretmanager"`, ``},
	{"config.tf", "", `: "${chomp(var.config)}\n"`, `: yamlencode(yamldecode(var.config))`},
	{"config.tf", "", `TAILWEIR_FACTS_SUBSCRIPTION = google_pubsub_subscription.facts.name`, ``},
	{"config.tf", "", `replay   = try(tostring(local.timing.replay), "10m")`, `replay   = "10m"`},
	{"config.tf", "", `local.durations.lease + 2`, `local.durations.lease`},
	{"config.tf", "", `: 9)`, `: 30)`},
	{"config.tf", "", `secret_data_wo         = each.value`, `secret_data            = each.value`},
	{"config.tf", "", `secret_data_wo_version = parseint(substr(sha256(each.value), 0, 12), 16)`, `secret_data_wo_version = 1`},
	{"config.tf", "", `deletion_policy = "ABANDON"`, `deletion_policy = "DELETE"`},
	{"config.tf", "", `each.key == "worker" ? google_service_account.worker.member : google_service_account.ingest.member`, `google_service_account.worker.member`},
	{"config.tf", "", `location = var.region`, `location = "us-central1"`},
	{"config.tf", "", `TAILWEIR_KEYS = "/etc/tailweir-keys/keys.yaml"`, ``},
	{"config.tf", "", `TAILWEIR_AUTH = "none"`, ``},
	{"config.tf", "", `{ ingest-keys = "${chomp(var.ingest_keys)}\n" } : {}`, `{} : {}`},
	{"ingest.tf", "", `version = "latest"`, `version = "1"`},
	{"ingest.tf", "", `version = env.value[1]`, `version = "latest"`},
	{"config.tf", `"redact_key" {`, `google_service_account.ingest.member`, `google_service_account.worker.member`},
	{"loadbalancer_variables.tf", "", `!contains(var.ingest_auth, "none") || `, ``},
	{"ingest.tf", "", `mount_path = "/etc/tailweir-keys"`, `mount_path = "/etc/tailweir"`},
	{"variables.tf", "", `|| !contains(var.ingest_auth, "none")`, ``},
	{"ingest.tf", "", `"h2c"`, `"http1"`},
	{"ingest.tf", "", `ingress              = var.ingest_ingress`, `ingress              = "INGRESS_TRAFFIC_ALL"`},
	{"ingest.tf", "", `invoker_iam_disabled = !var.ingest_invoker_iam`, `invoker_iam_disabled = true`},
	{"ingest.tf", "", `cpu_idle          = !var.ingest_cpu_always`, `cpu_idle          = var.ingest_cpu_always`},
	{"ingest.tf", "", `min_instance_count = var.ingest_min_instances`, `min_instance_count = 0`},
	{"ingest.tf", "", `google_service_account.ingest.email`, `google_service_account.worker.email`},
	{"ingest.tf", "liveness_probe {", `port = local.otlp_port`, `port = 8080`},
	{"ingest.tf", "", `deletion_protection  = var.deletion_protection`, `deletion_protection  = false`},
	{"ingest.tf", "", `egress = "PRIVATE_RANGES_ONLY"`, `egress = "ALL_TRAFFIC"`},
	{"workers.tf", "", `manual_instance_count = var.worker_instances`, "manual_instance_count = var.worker_instances\n    max_instance_count    = 10"},
	{"workers.tf", "", `"/readyz"`, `"/ready"`},
	{"workers.tf", "liveness_probe {", `"/healthz"`, `"/readyz"`},
	{"workers.tf", "", `failure_threshold = 48`, `failure_threshold = 60`},
	{"workers.tf", "", `service_account = google_service_account.worker.email`, `service_account = google_service_account.ingest.email`},
	{"workers.tf", "", `version = google_secret_manager_secret_version.config["worker"].version`, `version = "latest"`},
	{"workers.tf", "", `<= 0.75 *`, `<= 1.75 *`},
	{"workers.tf", "", `* 0.9)}MiB`, `* 1.1)}MiB`},
	{"workers.tf", "", `"/etc/tailweir"`, `"/etc/config"`},
	{"mig.tf", "", `enable_secure_boot          = true`, `enable_secure_boot          = false`},
	{"mig.tf", "", `block-project-ssh-keys    = "TRUE"`, `block-project-ssh-keys    = "FALSE"`},
	{"mig.tf", "", `max_unavailable_fixed        = 0`, `max_unavailable_fixed        = 3`},
	{"mig.tf", "", `fixed = 1`, `fixed = 10`},
	{"mig.tf", "", `network    = local.network`, "network    = local.network\n    access_config {}"},
	{"mig.tf", "", `target = var.mig_cpu_target`, `target = 0.9`},
	{"mig.tf", "", `single_instance_assignment = metric.value`, `target                     = metric.value`},
	{"mig.tf", "", `content     = join("", [for k, v in local.worker_env : "${k}=${v}\n"])`, `content     = local.worker_file`},
	{"mig.tf", "", `request_path = "/healthz"`, `request_path = "/readyz"`},
	{"worker.service.tftpl", "", `--time ${grace}`, `--time 5`},
	{"worker.service.tftpl", "", `StartLimitIntervalSec=0`, ``},
	{"worker.sh.tftpl", "2>/dev/null ||", `-s $range -j ACCEPT`, `-j ACCEPT`},
	{"network.tf", "", `private_ip_google_access = true`, `private_ip_google_access = false`},
	{"network.tf", "", `["130.211.0.0/22", "35.191.0.0/16"]`, `["0.0.0.0/0"]`},
	{"network.tf", "", `["35.235.240.0/20"]`, `["0.0.0.0/0"]`},
	{"registry.tf", "", `immutable_tags = true`, `immutable_tags = false`},
	{"registry.tf", "", `var.create_registry && local.mig ? 1 : 0`, `0`},
	{"autoscaling.tf", "", `ignore_changes = [scaling]`, ``},
	{"autoscaling.tf", `"google_cloud_run_v2_worker_pool" "autoscaled"`, `manual_instance_count = var.worker_autoscaling.min # at first`, `min_instance_count = var.worker_autoscaling.min`},
	{"autoscaling.tf", `"google_cloud_run_v2_worker_pool" "autoscaled"`, `service_account = google_service_account.worker.email`, `service_account = google_service_account.scaler[0].email`},
	{"autoscaling.tf", "", `[2m] offset 4m`, `[2m]`},
	{"autoscaling.tf", "", `ignoreNullValues = "false"`, `ignoreNullValues = "true"`},
	{"autoscaling.tf", "", `"AverageValue"`, `"Value"`},
	{"autoscaling.tf", "", `topic_id=\"${google_pubsub_topic.payloads.name}\"`, `topic_id=\"${google_pubsub_topic.log.name}\"`},
	{"autoscaling.tf", "", `min(0.6, `, `max(0.6, `},
	{"autoscaling.tf", "", `(local.window_idle + 4 + 20)`, `(local.window_idle + 4)`},
	{"autoscaling.tf", "", `stabilizationWindowSeconds = 600`, `stabilizationWindowSeconds = 60`},
	{"autoscaling.tf", "", `maxReplicaCount = var.worker_autoscaling.max`, `maxReplicaCount = 100`},
	{"autoscaling.tf", "", `"roles/run.developer"`, `"roles/run.admin"`},
	{"autoscaling.tf", "", `"roles/monitoring.viewer", `, `"roles/viewer", `},
	{"autoscaling.tf", "", `service_account_id = google_service_account.worker.name`, `service_account_id = google_service_account.ingest.name`},
	{"autoscaling.tf", "", `"v${substr(sha256(local.autoscaler_text), 0, 12)}"`, `"v1"`},
	{"autoscaling.tf", `"google_cloud_run_v2_service" "scaler"`, `"INGRESS_TRAFFIC_INTERNAL_ONLY"`, `"INGRESS_TRAFFIC_ALL"`},
	{"autoscaling.tf", `"google_cloud_run_v2_service" "scaler"`, `manual_instance_count = 1`, `manual_instance_count = 2`},
	{"autoscaling.tf", `"google_cloud_run_v2_service" "scaler"`, `cpu_idle = false`, `cpu_idle = true`},
	{"loadbalancer.tf", "", `"HTTP2"`, `"HTTPS"`},
	{"loadbalancer.tf", "", `security_policy = var.load_balancer_security_policy`, `security_policy = null`},
	{"loadbalancer.tf", "", `"443"`, `"80"`},
	{"loadbalancer.tf", "", `"TLS_1_2"`, `"TLS_1_0"`},
	{"loadbalancer.tf", "", `external = var.load_balancer == "external"`, `external = var.load_balancer != "none"`},
	{"loadbalancer.tf", "", `"LIST_OF_SUBNETWORKS"`, `"ALL_SUBNETWORKS_ALL_IP_RANGES"`},
	{"loadbalancer.tf", "", `google_compute_managed_ssl_certificate.ingest[*].id : var.load_balancer_certificates`, `var.load_balancer_certificates : var.load_balancer_certificates`},
	{"monitoring.tf", "", `\"worker status\" AND ${local.worker_fields}.${each.key}:*"`, `\"worker status\""`},
	{"monitoring.tf", "", `"EXTRACT(${local.worker_fields}.${each.key})"`, `"EXTRACT(jsonPayload.${each.key})"`},
	{"monitoring.tf", "", `metric_kind  = "DELTA"`, `metric_kind  = "GAUGE"`},
	{"monitoring.tf", "", `value_type   = "DISTRIBUTION"`, `value_type   = "INT64"`},
	{"monitoring.tf", "", `"resource.labels.worker_pool_name=\"${var.name}-worker\"",`, ``},
	{"monitoring.tf", "", `\"payload dead-lettered\" OR `, ``},
	{"monitoring.tf", "", `from = "${local.worker_fields}.reason"`, `from = "${local.worker_fields}.cause"`},
	{"monitoring.tf", "", `count   = var.monitoring ? 1 : 0`, `count   = 1`},
	{"alerts.tf", "", `ceil(local.window_max_age) + 300`, `300`},
	{"alerts.tf", "nobody_leads = {", `AND ${local.of_facts}`, `AND ${local.of_payloads}`},
	{"alerts.tf", "oldest_unacked = {", `"ALIGN_MAX"`, `"ALIGN_MIN"`},
	{"alerts.tf", "workers_silent = {", `absent = true, duration = 600`, `absent = true, duration = 60`},
	{"alerts.tf", "export_failing = {", `above = true, threshold = var.alert_exporters_failing`, `above = false, threshold = var.alert_exporters_failing`},
	{"alerts.tf", "kept_share = {", `try(var.alert_kept_share.max, 1)`, `try(var.alert_kept_share.min, 1)`},
	{"alerts.tf", "no_traffic = {", `AND ${local.of_payload_topic}`, ``},
	{"alerts.tf", "", `var.alert_hold_share, duration = 900`, `0.5, duration = 900`},
	{"alerts.tf", "", `notification_channels = var.notification_channels`, `notification_channels = []`},
	{"alerts.tf", "", `replace(key, "_", "-")`, `key`},
	{"dashboard.json.tftpl", "Requests at the ingest", `service_name=\"${ingest}\"`, `service_name=\"${name}\"`},
	{"dashboard.json.tftpl", "Age of the oldest", `subscription_id=\"${facts_sub}\"`, `subscription_id=\"${payload_sub}\"`},
	{"outputs.tf", "", `"always_on"`, `"parentbased_always_on"`},
	{"outputs.tf", `"app_environment"`, `google_cloud_run_v2_service.ingest.uri`, `google_cloud_run_v2_service.ingest.name`},
}

// TestMutations breaks the module one line at a time, and takes each validation of a variable away, and says which breakage no test of
// the module notices. make mutations runs it all, in a quarter of an hour, and docs/terraform.md has its last result; CI tries a seventh.
// That the lines are there is checked always.
func TestMutations(t *testing.T) {
	type mutant struct{ name, file, text, variable string }
	var all []mutant
	for _, m := range mutations {
		text := read(t, filepath.Join(module, m.file))
		at := strings.Index(text, m.after)
		if at < 0 || !strings.Contains(text[at:], m.old) {
			t.Errorf("%s has no %q after %q: the table is out of date", m.file, m.old, m.after)
			continue
		}
		all = append(all, mutant{m.file + " " + m.after + ": " + m.old, m.file, text[:at] + strings.Replace(text[at:], m.old, m.new, 1), ""})
	}
	if len(all) < 30 {
		t.Errorf("%d breakages only", len(all))
	}
	files, err := filepath.Glob(module + "/*variables.tf")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		file, text := filepath.Base(path), read(t, path)
		for _, at := range regexp.MustCompile(`(?m)^    condition     = .*$`).FindAllStringIndex(text, -1) {
			names := regexp.MustCompile(`(?m)^variable "(\w+)"`).FindAllStringSubmatch(text[:at[0]], -1)
			name := names[len(names)-1][1]
			all = append(all, mutant{file + " " + name + ": no" + text[at[0]+19:at[1]], file, text[:at[0]] + "    condition     = var." + name + " == var." + name + " || true" + text[at[1]:], name})
		}
	}
	// Nothing of the module is left out.
	sources, err := filepath.Glob(module + "/*.t*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range sources {
		if file := filepath.Base(path); file != "versions.tf" && file != "google-metrics.txt" && !slices.ContainsFunc(all, func(m mutant) bool { return m.file == file }) {
			t.Errorf("%s: not a line of it is broken", file)
		}
	}
	// CI tries every seventh: all of them take a quarter of an hour.
	if whole := os.Getenv("TAILWEIR_MUTATIONS"); whole == "" {
		if os.Getenv("CI") != "true" {
			t.Skipf("skipped: %d breakages take a quarter of an hour: make mutations tries them", len(all))
		}
		sample := all[:0]
		for i := 0; i < len(all); i += 7 {
			sample = append(sample, all[i])
		}
		if all = sample; len(all) < 30 {
			t.Errorf("%d breakages only", len(all))
		}
	}
	settings := offline(t)
	var caught, validations atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d breakages, %d of them a validation taken away: %d caught", len(all), validations.Load(), caught.Load())
	})
	for _, m := range all {
		if m.variable != "" {
			validations.Add(1)
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(module)); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, m.file), m.text)
			// Of what is refused only the runs of this variable, and those alone: the others cannot notice, and take a minute.
			tests, err := filepath.Glob(dir + "/tests/*")
			if err != nil {
				t.Fatal(err)
			}
			first := filepath.Join(dir, "tests", firstTest(m.file)) // it notices most, in seconds: the others only run where it does not
			later := map[string]string{}
			for _, test := range tests {
				text := runsOf(read(t, test), m.variable)
				if m.variable == "" && test != first {
					later[test], text = text, ""
				}
				write(t, test, text)
			}
			data := t.TempDir()
			out, err := terraform(settings, dir, data, "test", "-no-color").CombinedOutput()
			if err == nil && len(later) > 0 {
				later[first] = ""
				for test, text := range later {
					write(t, test, text)
				}
				out, err = terraform(settings, dir, data, "test", "-no-color").CombinedOutput()
			}
			if err == nil {
				t.Errorf("no test notices\n%s", lastLine(string(out)))
				return
			}
			caught.Add(1)
			failed := regexp.MustCompile(`run "(\w+)"\.\.\. fail`).FindAllStringSubmatch(string(out), -1)
			if m.variable != "" && len(failed) == 0 {
				t.Errorf("not refused by a test:\n%s", out)
			}
			t.Logf("caught by %v", slices.Collect(func(yield func(string) bool) {
				for _, f := range failed {
					if !yield(f[1]) {
						return
					}
				}
			}))
		})
	}
}

// firstTest is the test that knows a file best.
func firstTest(file string) string {
	switch file {
	case "mig.tf", "worker.sh.tftpl", "worker.service.tftpl", "network.tf":
		return "mig.tftest.hcl"
	case "monitoring.tf", "alerts.tf", "dashboard.json.tftpl":
		return "monitoring.tftest.hcl"
	case "autoscaling.tf", "loadbalancer.tf":
		return strings.TrimSuffix(file, ".tf") + ".tftest.hcl"
	}
	return "contract.tftest.hcl"
}

// runsOf is a test file with only those runs that expect the variable to object, or a resource where variable is empty.
func runsOf(text, variable string) string {
	parts := strings.Split(text, "\nrun \"")
	kept := parts[:1]
	for _, p := range parts[1:] {
		if variable == "" && !strings.Contains(p, "[var.") || variable != "" && strings.Contains(p, "expect_failures = [var."+variable+"]") {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "\nrun \"")
}
