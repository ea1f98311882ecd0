# What is watched, planned with a mocked provider.

mock_provider "google" {}

variables {
  project_id     = "my-observability"
  project_number = "123456789012"
  region         = "europe-west1"
  image          = "europe-west1-docker.pkg.dev/my-observability/tailweir/tailweir:v1"
}

run "watched_on_the_first_day" {
  command = plan
  assert {
    condition = toset(keys(google_monitoring_alert_policy.alert)) == toset([
      "anomalies", "dead_letters", "decisions_late", "export_failing", "fenced", "hold_full", "kept_share", "no_traffic", "nobody_leads",
      "oldest_unacked", "policies_differ", "workers_silent",
    ])
    error_message = "an alert is missing, or one is there that this test does not know"
  }
  assert {
    condition     = alltrue([for a in google_monitoring_alert_policy.alert : alltrue([for c in a.conditions : length(c.condition_threshold) + length(c.condition_absent) == 1])])
    error_message = "each condition is of one kind"
  }
  assert {
    # window.max_age is 60 s: some payloads are always that old.
    condition     = google_monitoring_alert_policy.alert["oldest_unacked"].conditions[0].condition_threshold[0].threshold_value == 360
    error_message = "the age must be above the window"
  }
  assert {
    condition = alltrue([for a in google_monitoring_alert_policy.alert : alltrue([for c in a.conditions : alltrue([for t in concat(c.condition_threshold, c.condition_absent) :
    strcontains(t.filter, "resource.type=\"") && strcontains(t.filter, "metric.type=\"") && !strcontains(t.filter, "metric.type=\"\"")])])])
    error_message = "Cloud Monitoring wants one metric and one resource type in each filter"
  }
  assert {
    condition     = alltrue([for m in google_logging_metric.status : startswith(m.value_extractor, "EXTRACT(jsonPayload.") && strcontains(m.filter, "resource.type=\"cloud_run_worker_pool\"")])
    error_message = "a worker pool's lines have their fields at the top"
  }
  assert {
    condition     = length(jsondecode(google_monitoring_dashboard.fleet[0].dashboard_json).mosaicLayout.tiles) == 12
    error_message = "the dashboard is JSON, with all its tiles"
  }
  assert {
    condition     = contains(keys(google_project_service.monitoring), "monitoring.googleapis.com")
    error_message = "the API of what watches"
  }
  assert {
    condition     = strcontains(google_monitoring_alert_policy.alert["nobody_leads"].documentation[0].content, "docs/operations.md#nobody-leads")
    error_message = "an alert says where its runbook is"
  }
}

# Each condition as Cloud Monitoring will have it: a change here is a change of what people are woken for.
run "conditions" {
  command = plan
  assert {
    condition = { for key, a in google_monitoring_alert_policy.alert : key => [for c in a.conditions : one([for t in concat(c.condition_threshold, c.condition_absent) :
      "${t.filter} | ${t.aggregations[0].per_series_aligner} ${t.aggregations[0].cross_series_reducer} ${t.aggregations[0].alignment_period} | ${try("${t.comparison == "COMPARISON_GT" ? "above" : "below"} ${t.threshold_value}", "absent")} for ${t.duration}"])] } == {
      anomalies = [
        "metric.type=\"logging.googleapis.com/user/tailweir/anomalies\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN 300s | above 0 for 0s",
      ]
      dead_letters = [
        "metric.type=\"logging.googleapis.com/user/tailweir/dead_letters\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_SUM 300s | above 0 for 0s",
        "metric.type=\"pubsub.googleapis.com/subscription/dead_letter_message_count\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"tailweir-payloads-worker\" | ALIGN_DELTA REDUCE_SUM 300s | above 0 for 0s",
      ]
      decisions_late = [
        "metric.type=\"logging.googleapis.com/user/tailweir/window_lag_seconds\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN 300s | above 60 for 600s",
      ]
      export_failing = [
        "metric.type=\"logging.googleapis.com/user/tailweir/exporters_failing\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN 300s | above 0.5 for 600s",
        "metric.type=\"logging.googleapis.com/user/tailweir/export_refused\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_SUM 300s | above 0 for 0s",
        "metric.type=\"logging.googleapis.com/user/tailweir/export_lost\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN 300s | above 0 for 0s",
      ]
      fenced = [
        "metric.type=\"logging.googleapis.com/user/tailweir/fences\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN 300s | above 0 for 900s",
      ]
      hold_full = [
        "metric.type=\"logging.googleapis.com/user/tailweir/hold_share\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN 300s | above 0.75 for 900s",
      ]
      kept_share = [
        "metric.type=\"logging.googleapis.com/user/tailweir/kept_share\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN 600s | above 0.5 for 1800s",
        "metric.type=\"logging.googleapis.com/user/tailweir/kept_share\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN 600s | below 0.005 for 1800s",
      ]
      no_traffic = [
        "metric.type=\"pubsub.googleapis.com/topic/send_message_operation_count\" AND resource.type=\"pubsub_topic\" AND resource.labels.topic_id=\"tailweir-payloads\" | ALIGN_RATE REDUCE_SUM 300s | absent for 900s",
        "metric.type=\"pubsub.googleapis.com/topic/send_message_operation_count\" AND resource.type=\"pubsub_topic\" AND resource.labels.topic_id=\"tailweir-payloads\" | ALIGN_RATE REDUCE_SUM 300s | below 0.001 for 900s",
      ]
      nobody_leads = [
        "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"tailweir-facts-sequencer\" | ALIGN_MAX REDUCE_MAX 60s | above 60 for 300s",
      ]
      oldest_unacked = [
        "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"tailweir-payloads-worker\" | ALIGN_MAX REDUCE_MAX 60s | above 360 for 300s",
      ]
      policies_differ = [
        "metric.type=\"logging.googleapis.com/user/tailweir/policy_pending\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN 300s | above 0 for 1800s",
      ]
      workers_silent = [
        "metric.type=\"logging.googleapis.com/user/tailweir/status_lines\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_SUM 60s | absent for 600s",
      ]
    }
    error_message = "a condition is another"
  }
  assert {
    condition     = alltrue([for a in google_monitoring_alert_policy.alert : alltrue([for c in a.conditions : alltrue([for t in c.condition_threshold : t.trigger[0].count == 1 && (t.duration == "0s" || t.evaluation_missing_data == "EVALUATION_MISSING_DATA_INACTIVE")])]) && a.combiner == "OR" && a.enabled && a.alert_strategy[0].auto_close == "3600s"])
    error_message = "one series is enough, and missing data is no incident"
  }
}

run "metrics_of_the_log" {
  command = plan
  assert {
    condition = { for key, m in google_logging_metric.event : key => m.filter } == {
      dead_letters   = "resource.type=\"cloud_run_worker_pool\" AND resource.labels.worker_pool_name=\"tailweir-worker\" AND resource.labels.location=\"europe-west1\" AND jsonPayload.message=(\"payload dead-lettered\" OR \"items dead-lettered\")"
      export_refused = "resource.type=\"cloud_run_worker_pool\" AND resource.labels.worker_pool_name=\"tailweir-worker\" AND resource.labels.location=\"europe-west1\" AND jsonPayload.message=\"backend takes nothing from this exporter\""
      status_lines   = "resource.type=\"cloud_run_worker_pool\" AND resource.labels.worker_pool_name=\"tailweir-worker\" AND resource.labels.location=\"europe-west1\" AND jsonPayload.message=\"worker status\""
    }
    error_message = "lines that are counted"
  }
  assert {
    condition     = alltrue([for key, m in google_logging_metric.status : m.filter == "resource.type=\"cloud_run_worker_pool\" AND resource.labels.worker_pool_name=\"tailweir-worker\" AND resource.labels.location=\"europe-west1\" AND jsonPayload.message=\"worker status\" AND jsonPayload.${key}:*" && m.value_extractor == "EXTRACT(jsonPayload.${key})" && m.name == "tailweir/${key}" && m.metric_descriptor[0].metric_kind == "DELTA" && m.metric_descriptor[0].value_type == "DISTRIBUTION"])
    error_message = "each figure of a status line is a metric"
  }
  assert {
    condition     = alltrue([for key, m in google_logging_metric.event : m.metric_descriptor[0].metric_kind == "DELTA" && m.metric_descriptor[0].value_type == "INT64"]) && google_logging_metric.event["dead_letters"].label_extractors == tomap({ reason = "EXTRACT(jsonPayload.reason)" })
    error_message = "lines are counted, dead letters by their reason"
  }
}

run "tiles" {
  command = plan
  assert {
    condition = [for t in jsondecode(google_monitoring_dashboard.fleet[0].dashboard_json).mosaicLayout.tiles : [for s in t.widget.xyChart.dataSets : "${s.timeSeriesQuery.timeSeriesFilter.filter} | ${s.timeSeriesQuery.timeSeriesFilter.aggregation.perSeriesAligner} ${s.timeSeriesQuery.timeSeriesFilter.aggregation.crossSeriesReducer}"]] == [
      [
        "metric.type=\"pubsub.googleapis.com/topic/send_message_operation_count\" AND resource.type=\"pubsub_topic\" AND resource.labels.topic_id=\"tailweir-payloads\" | ALIGN_RATE REDUCE_SUM",
      ],
      [
        "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"tailweir-ingest\" | ALIGN_RATE REDUCE_SUM",
      ],
      [
        "metric.type=\"run.googleapis.com/request_latencies\" AND resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"tailweir-ingest\" | ALIGN_DELTA REDUCE_PERCENTILE_99",
        "metric.type=\"run.googleapis.com/request_latencies\" AND resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"tailweir-ingest\" | ALIGN_DELTA REDUCE_PERCENTILE_50",
      ],
      [
        "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"tailweir-payloads-worker\" | ALIGN_MAX REDUCE_MAX",
        "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"tailweir-facts-sequencer\" | ALIGN_MAX REDUCE_MAX",
      ],
      [
        "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"tailweir-payloads-worker\" | ALIGN_MEAN REDUCE_SUM",
      ],
      [
        "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"tailweir-deadletters-keep\" | ALIGN_MEAN REDUCE_SUM",
        "metric.type=\"logging.googleapis.com/user/tailweir/dead_letters\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_SUM",
      ],
      [
        "metric.type=\"run.googleapis.com/container/cpu/utilizations\" AND resource.type=\"cloud_run_worker_pool\" AND resource.labels.worker_pool_name=\"tailweir-worker\" | ALIGN_DELTA REDUCE_MEAN",
      ],
      [
        "metric.type=\"logging.googleapis.com/user/tailweir/members\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN",
        "metric.type=\"logging.googleapis.com/user/tailweir/hold_share\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN",
      ],
      [
        "metric.type=\"logging.googleapis.com/user/tailweir/spans_received\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN",
        "metric.type=\"logging.googleapis.com/user/tailweir/spans_kept\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN",
      ],
      [
        "metric.type=\"logging.googleapis.com/user/tailweir/kept_share\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN",
      ],
      [
        "metric.type=\"logging.googleapis.com/user/tailweir/window_lag_seconds\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN",
      ],
      [
        "metric.type=\"logging.googleapis.com/user/tailweir/exporters_failing\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN",
        "metric.type=\"logging.googleapis.com/user/tailweir/export_lost\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN",
        "metric.type=\"logging.googleapis.com/user/tailweir/handed_back\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN",
        "metric.type=\"logging.googleapis.com/user/tailweir/fences\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN",
        "metric.type=\"logging.googleapis.com/user/tailweir/anomalies\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN",
        "metric.type=\"logging.googleapis.com/user/tailweir/policy_pending\" AND resource.type=\"cloud_run_worker_pool\" | ALIGN_DELTA REDUCE_MEAN",
      ],
    ]
    error_message = "a tile shows something else"
  }
}

run "window_of_the_file" {
  command = plan
  variables {
    config = "window: {max_age: 2m30s}"
  }
  assert {
    condition     = google_monitoring_alert_policy.alert["oldest_unacked"].conditions[0].condition_threshold[0].threshold_value == 450
    error_message = "the threshold follows window.max_age"
  }
}

run "runbook_of_your_own" {
  command = plan
  variables {
    runbook_url           = "https://git.example.com/docs/operations.md"
    notification_channels = ["projects/my-observability/notificationChannels/1234567890"]
  }
  assert {
    condition     = strcontains(google_monitoring_alert_policy.alert["dead_letters"].documentation[0].content, "(https://git.example.com/docs/operations.md#dead-letters)")
    error_message = "the link is to the heading"
  }
  assert {
    condition     = alltrue([for a in google_monitoring_alert_policy.alert : a.notification_channels == tolist(["projects/my-observability/notificationChannels/1234567890"])])
    error_message = "every alert tells somebody"
  }
}

run "fewer" {
  command = plan
  variables {
    alert_kept_share         = null
    alert_no_traffic_seconds = null
  }
  assert {
    condition     = length(google_monitoring_alert_policy.alert) == 10 && !contains(keys(google_monitoring_alert_policy.alert), "kept_share") && !contains(keys(google_monitoring_alert_policy.alert), "no_traffic")
    error_message = "null turns an alert off"
  }
}

run "none" {
  command = plan
  variables {
    monitoring = false
  }
  assert {
    condition     = length(google_monitoring_alert_policy.alert) + length(google_logging_metric.status) + length(google_logging_metric.event) + length(google_monitoring_dashboard.fleet) == 0
    error_message = "nothing is left"
  }
}

run "machines" {
  command = plan
  variables {
    worker_platform = "mig"
    create_network  = true
  }
  assert {
    condition     = alltrue([for m in google_logging_metric.status : startswith(m.value_extractor, "EXTRACT(jsonPayload.message.") && strcontains(m.filter, "resource.type=\"gce_instance\"")])
    error_message = "machines' lines are below message"
  }
  assert {
    condition     = strcontains(google_monitoring_dashboard.fleet[0].dashboard_json, "compute.googleapis.com/instance/cpu/utilization") && !strcontains(google_monitoring_dashboard.fleet[0].dashboard_json, "cloud_run_worker_pool")
    error_message = "the dashboard shows the machines' CPU"
  }
}

run "workers_elsewhere" {
  command = plan
  variables {
    worker_platform = "none"
  }
  assert {
    condition     = length(google_logging_metric.status) == 0 && toset(keys(google_monitoring_alert_policy.alert)) == toset(["oldest_unacked", "nobody_leads", "dead_letters", "no_traffic"])
    error_message = "what Pub/Sub says of them is watched all the same"
  }
  assert {
    condition     = length(google_monitoring_alert_policy.alert["dead_letters"].conditions) == 1
    error_message = "by Pub/Sub's own metric"
  }
}

run "refuses_what_is_no_channel" {
  command = plan
  variables {
    notification_channels = ["oncall@example.com"]
  }
  expect_failures = [var.notification_channels]
}

run "refuses_a_channel_twice" {
  command = plan
  variables {
    notification_channels = ["projects/p/notificationChannels/1", "projects/p/notificationChannels/1"]
  }
  expect_failures = [var.notification_channels]
}

run "refuses_a_runbook_without_tls" {
  command = plan
  variables {
    runbook_url = "http://git.example.com/operations.md"
  }
  expect_failures = [var.runbook_url]
}

run "refuses_an_age_below_the_window" {
  command = plan
  variables {
    alert_oldest_unacked_seconds = 15
  }
  expect_failures = [var.alert_oldest_unacked_seconds]
}

run "refuses_a_hold_that_is_never_so_full" {
  command = plan
  variables {
    alert_hold_share = 0.9
  }
  expect_failures = [var.alert_hold_share]
}

run "refuses_a_norm_upside_down" {
  command = plan
  variables {
    alert_kept_share = { min = 0.5, max = 0.1 }
  }
  expect_failures = [var.alert_kept_share]
}

run "refuses_no_exporter_failing" {
  command = plan
  variables {
    alert_exporters_failing = 0
  }
  expect_failures = [var.alert_exporters_failing]
}

run "refuses_a_lag_that_is_normal" {
  command = plan
  variables {
    alert_window_lag_seconds = 3
  }
  expect_failures = [var.alert_window_lag_seconds]
}

run "refuses_a_fraction_of_a_minute" {
  command = plan
  variables {
    alert_no_traffic_seconds = 301
  }
  expect_failures = [var.alert_no_traffic_seconds]
}
