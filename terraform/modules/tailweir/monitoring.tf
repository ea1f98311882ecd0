# How the workers' own figures come to Cloud Monitoring: each worker writes a line "worker status" into its log every minute, with the
# figures of that minute, and log-based metrics take them out. A worker pool has no address to scrape. Google's Prometheus sidecar
# is documented for Cloud Run services, for pools it is not, and it would be a third process with an own failure on each instance;
# an exporter in the worker would be one more API, with an own quota and permission. The log is there anyway, and 700 B a minute of
# each worker cost nothing to speak of. Where Prometheus runs, on GKE or machines of your own, scrape /metrics instead.
locals {
  worker_resource = local.mig ? "gce_instance" : "cloud_run_worker_pool"

  # Container-Optimized OS puts a line, parsed, below `message`; Cloud Run has its fields at the top. NOT CONFIRMED for the first:
  # docs/operations.md says how to look.
  worker_fields = local.mig ? "jsonPayload.message" : "jsonPayload"
  worker_lines = join(" AND ", local.mig ? [
    "resource.type=\"gce_instance\"",
    "jsonPayload.\"cos.googleapis.com/container_name\"=\"worker\"",
    "labels.\"compute.googleapis.com/resource_name\"=~\"^${var.name}-worker-\"",
    ] : [
    "resource.type=\"cloud_run_worker_pool\"",
    "resource.labels.worker_pool_name=\"${var.name}-worker\"",
    "resource.labels.location=\"${var.region}\"",
  ])

  # The figures of a status line that become metrics: what they are, and a sensible size of the first bucket. Means and counts of a
  # distribution are exact; its buckets only matter for percentiles.
  status_figures = {
    kept_share         = { about = "share of traces kept, of those decided in a minute", scale = 0.0001 }
    hold_share         = { about = "share of hold.max_bytes in use", scale = 0.001 }
    spans_received     = { about = "spans received in a minute by a worker", scale = 1 }
    spans_kept         = { about = "spans exported in a minute by a worker", scale = 1 }
    handed_back        = { about = "messages handed back in a minute by a worker, since its hold was full", scale = 1 }
    exporters_failing  = { about = "exporters of a worker whose latest request was not confirmed", scale = 0.1 }
    export_lost        = { about = "items that an exporter that is not required lost in a minute", scale = 1 }
    anomalies          = { about = "breaches in a minute of what Pub/Sub promises of the log", scale = 0.1 }
    fences             = { about = "times in a minute that a worker gave everything back for want of a live log", scale = 0.1 }
    members            = { about = "workers listed in the fleet, as a worker knows", scale = 0.1 }
    policy_pending     = { about = "1 while a worker's policies are not the fleet's", scale = 0.1 }
    window_lag_seconds = { about = "how far event time is behind the newest payload", scale = 0.01 }
  }

  # The types under which Cloud Monitoring knows the metrics.
  metric = { for key in concat(keys(local.status_figures), keys(local.status_events)) : key => "logging.googleapis.com/user/${var.name}/${key}" }

  # With worker_platform "none" they run elsewhere, and what they log and export is watched there: docs/operations.md.
  has_workers = local.pool || local.mig
}

# Those that nothing else here needs.
resource "google_project_service" "monitoring" {
  for_each           = var.enable_apis && var.monitoring ? setsubtract(["logging.googleapis.com", "monitoring.googleapis.com"], local.apis) : toset([])
  project            = var.project_id
  service            = each.value
  disable_on_destroy = false
}

resource "google_logging_metric" "status" {
  for_each    = var.monitoring && local.has_workers ? local.status_figures : {}
  project     = var.project_id
  name        = "${var.name}/${each.key}"
  description = "Tailweir: ${each.value.about}"
  # The field is asked for as well: a worker that does not lead has no window, and one that decided nothing no share.
  filter          = "${local.worker_lines} AND ${local.worker_fields}.message=\"worker status\" AND ${local.worker_fields}.${each.key}:*"
  value_extractor = "EXTRACT(${local.worker_fields}.${each.key})"
  metric_descriptor {
    metric_kind  = "DELTA"
    value_type   = "DISTRIBUTION"
    unit         = "1"
    display_name = "Tailweir: ${each.value.about}"
  }
  bucket_options {
    exponential_buckets {
      num_finite_buckets = 40
      growth_factor      = 2
      scale              = each.value.scale
    }
  }
  depends_on = [google_project_service.api, google_project_service.monitoring]
}

locals {
  status_events = {
    # Poison: payloads that nobody can read, and what a backend will never take. The line is written once the item is on its way to
    # the dead-letter topic, with the reason.
    dead_letters = {
      about  = "payloads and items that became dead letters"
      filter = "${local.worker_fields}.message=(\"payload dead-lettered\" OR \"items dead-lettered\")"
      labels = { reason = { about = "tailweir.reason", from = "${local.worker_fields}.reason" } }
    }
    export_refused = {
      about  = "minutes in which an exporter was refused for credentials, permissions or a path: somebody must act"
      filter = "${local.worker_fields}.message=\"backend takes nothing from this exporter\""
      labels = {}
    }
    status_lines = {
      about  = "status lines: one for each worker and minute"
      filter = "${local.worker_fields}.message=\"worker status\""
      labels = {}
    }
  }
}

resource "google_logging_metric" "event" {
  for_each         = var.monitoring && local.has_workers ? local.status_events : {}
  project          = var.project_id
  name             = "${var.name}/${each.key}"
  description      = "Tailweir: ${each.value.about}"
  filter           = "${local.worker_lines} AND ${each.value.filter}"
  label_extractors = { for key, label in each.value.labels : key => "EXTRACT(${label.from})" }
  metric_descriptor {
    metric_kind  = "DELTA"
    value_type   = "INT64"
    unit         = "1"
    display_name = "Tailweir: ${each.value.about}"
    dynamic "labels" {
      for_each = each.value.labels
      content {
        key         = labels.key
        value_type  = "STRING"
        description = labels.value.about
      }
    }
  }
  depends_on = [google_project_service.api, google_project_service.monitoring]
}

resource "google_monitoring_dashboard" "fleet" {
  count   = var.monitoring ? 1 : 0
  project = var.project_id
  # A chart of a metric that is not there yet is refused, too.
  depends_on = [google_project_service.monitoring, google_logging_metric.status, google_logging_metric.event]
  dashboard_json = templatefile("${path.module}/dashboard.json.tftpl", {
    name            = var.name
    metric          = local.metric
    worker_resource = local.worker_resource
    payload_topic   = google_pubsub_topic.payloads.name
    payload_sub     = google_pubsub_subscription.payloads.name
    facts_sub       = google_pubsub_subscription.facts.name
    dead_sub        = google_pubsub_subscription.dead_letters.name
    ingest          = google_cloud_run_v2_service.ingest.name
    # Machines have another metric of their CPU, and one for a whole machine.
    cpu_metric  = local.mig ? "compute.googleapis.com/instance/cpu/utilization" : "run.googleapis.com/container/cpu/utilizations"
    cpu_filter  = local.mig ? "metric.labels.instance_name=starts_with(\"${var.name}-worker-\")" : "resource.labels.worker_pool_name=\"${var.name}-worker\""
    cpu_aligner = local.mig ? "ALIGN_MEAN" : "ALIGN_DELTA"
  })
}
