# Metrics, with metrics_forward: a topic of their own beside the payloads', since they wait for no decision, and a worker that is full of
# traces should not keep them.

# --- Metrics, forwarded without sampling

variable "metrics_forward" {
  description = "Take OTLP metrics and have the workers forward them, unsampled: a topic and a subscription of their own. One exporter of the workers' file must take metrics; without exporters they go to Cloud Monitoring by the Telemetry API. Example: true"
  type        = bool
  default     = false
  nullable    = false
}

locals {
  metrics_env = var.metrics_forward ? {
    TAILWEIR_METRICS_FORWARD      = "true"
    TAILWEIR_METRICS_TOPIC        = google_pubsub_topic.metrics[0].name
    TAILWEIR_METRICS_SUBSCRIPTION = google_pubsub_subscription.metrics[0].name
  } : {}
}

resource "google_pubsub_topic" "metrics" {
  count        = var.metrics_forward ? 1 : 0
  project      = var.project_id
  name         = "${var.name}-metrics"
  kms_key_name = var.kms_key_name
  labels       = var.labels
  message_storage_policy {
    allowed_persistence_regions = local.storage_regions
    enforce_in_transit          = var.enforce_in_transit
  }
  depends_on = [google_project_service.api, google_kms_crypto_key_iam_member.agent]
  lifecycle {
    precondition {
      condition     = !can(local.decoded.exporters) || anytrue([for e in try(local.decoded.exporters, []) : contains(try(e.signals, []), "metrics")])
      error_message = "metrics_forward: none of the exporters in config takes metrics, so that workers would not start: give one of type telemetry or otlp signals with metrics in it."
    }
  }
}

resource "google_pubsub_subscription" "metrics" {
  count                = var.metrics_forward ? 1 : 0
  project              = var.project_id
  name                 = "${var.name}-metrics-worker"
  topic                = google_pubsub_topic.metrics[0].id
  labels               = var.labels
  ack_deadline_seconds = var.ack_deadline_seconds
  # As long as payloads: while the backend is away. Cloud Monitoring refuses points that are older than a day or so.
  message_retention_duration = var.subscription_retention
  retain_acked_messages      = false
  # Unordered: docs/metrics.md says why.
  enable_message_ordering      = false
  enable_exactly_once_delivery = false
  expiration_policy {
    ttl = "" # never: an expired subscription takes its backlog along
  }
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters.id
    max_delivery_attempts = var.max_delivery_attempts
  }
}

resource "google_pubsub_topic_iam_member" "ingest_publishes_metrics" {
  count   = var.metrics_forward ? 1 : 0
  project = var.project_id
  topic   = google_pubsub_topic.metrics[0].name
  role    = "roles/pubsub.publisher"
  member  = google_service_account.ingest.member
}

resource "google_pubsub_subscription_iam_member" "worker_pulls_metrics" {
  count        = var.metrics_forward ? 1 : 0
  project      = var.project_id
  subscription = google_pubsub_subscription.metrics[0].name
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.worker.member
}

# As for payloads: Pub/Sub's agent acks what it moves to the dead letters.
resource "google_pubsub_subscription_iam_member" "agent_acks_metrics" {
  count        = var.metrics_forward ? 1 : 0
  project      = var.project_id
  subscription = google_pubsub_subscription.metrics[0].name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}
