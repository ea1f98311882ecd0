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
