package terraform_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What runs is made after all that it needs, and so a destroy takes it away first: no process is there without its permissions, no payload is
// published before there is a subscription to keep it, and deletion_protection of the ingest, with which a destroy begins, saves the
// subscriptions and what is un-acked in them.
func TestOrder(t *testing.T) {
	out, err := terraform(offline(t), module, filepath.Join(t.TempDir(), "data"), "graph").Output()
	if err != nil {
		t.Fatal(err)
	}
	needs := map[string][]string{}
	for _, m := range regexp.MustCompile(`"([a-z0-9_.]+)" -> "([a-z0-9_.]+)"`).FindAllStringSubmatch(string(out), -1) {
		needs[m[1]] = append(needs[m[1]], m[2])
	}
	var after func(what, other string) bool
	after = func(what, other string) bool {
		return what == other || slices.ContainsFunc(needs[what], func(next string) bool { return after(next, other) })
	}
	var grants []string
	for _, m := range regexp.MustCompile(`(?m)^resource "(google_\w+_iam_member)" "(\w+)"`).FindAllStringSubmatch(read(t, module+"/iam.tf"), -1) {
		if strings.HasPrefix(m[2], "worker_") {
			grants = append(grants, m[1]+"."+m[2])
		}
	}
	if len(grants) < 7 {
		t.Fatalf("found %v only", grants)
	}
	common := []string{"google_project_service.api", "google_kms_crypto_key_iam_member.agent", "google_secret_manager_secret_iam_member.config",
		"google_pubsub_subscription.payloads", "google_pubsub_subscription.dead_letters"}
	workers := slices.Concat(common, grants, []string{"google_pubsub_subscription.facts", "google_secret_manager_secret_version.config"})
	for what, all := range map[string][]string{
		"google_cloud_run_v2_service.ingest":                  append(slices.Clone(common), "google_pubsub_topic_iam_member.ingest_publishes_payloads"),
		"google_cloud_run_v2_worker_pool.worker":              workers,
		"google_cloud_run_v2_worker_pool.autoscaled":          workers,
		"google_compute_region_instance_group_manager.worker": append(slices.Clone(workers), "google_artifact_registry_repository_iam_member.worker_pulls"),
		"google_cloud_run_v2_service.scaler": {"google_project_iam_member.scaler_reads", "google_service_account_iam_member.scaler_acts_as_worker",
			"google_cloud_run_v2_worker_pool_iam_member.scaler_sets_count", "google_parameter_manager_parameter_version.scaler", "google_kms_crypto_key_iam_member.agent"},
	} {
		for _, other := range all {
			if !after(what, other) {
				t.Errorf("%s does not wait for %s", what, other)
			}
		}
	}
}

// Both forms of the worker pool are the same but for the number: ignore_changes cannot depend on a variable, so there are two.
func TestBothWorkerPools(t *testing.T) {
	block := func(file, name string) (lines []string) {
		_, rest, ok := strings.Cut(read(t, module+"/"+file), `resource "google_cloud_run_v2_worker_pool" "`+name+"\" {\n")
		body, _, ok2 := strings.Cut(rest, "\n}\n")
		if !ok || !ok2 {
			t.Fatalf("%s: no worker pool %s", file, name)
		}
		for _, line := range strings.Split(body, "\n") {
			if line = strings.Join(strings.Fields(line), " "); line != "" && !strings.HasPrefix(line, "#") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	differ := regexp.MustCompile(`^(count =|manual_instance_count =|ignore_changes = \[scaling\]$)`)
	one, two := block("workers.tf", "worker"), block("autoscaling.tf", "autoscaled")
	one = slices.DeleteFunc(one, differ.MatchString)
	two = slices.DeleteFunc(two, differ.MatchString)
	if len(one) < 50 || !slices.Equal(one, two) {
		for i := range max(len(one), len(two)) {
			if i >= len(one) || i >= len(two) || one[i] != two[i] {
				t.Fatalf("they differ, first in line %d of %d and %d: %q and %q", i, len(one), len(two), slices.Concat(one[min(i, len(one)):], []string{""})[0], slices.Concat(two[min(i, len(two)):], []string{""})[0])
			}
		}
	}
}
