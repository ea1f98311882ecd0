locals {
  topic              = coalesce(var.topic, "${var.name}-payloads")
  subscription       = coalesce(var.subscription, "${var.name}-payloads-worker")
  dead_letter_topic  = coalesce(var.dead_letter_topic, "${var.name}-deadletters")
  facts_topic        = coalesce(var.facts_topic, "${var.name}-facts")
  facts_subscription = coalesce(var.facts_subscription, "${var.name}-facts-sequencer")
  log_topic          = coalesce(var.log_topic, "${var.name}-log")
  log_prefix         = coalesce(var.log_prefix, "${var.name}-log-")
  storage_regions    = coalesce(var.storage_regions, [var.region])
}

resource "google_pubsub_topic" "payloads" {
  project                    = var.project_id
  name                       = local.topic
  message_retention_duration = var.topic_retention
  kms_key_name               = var.kms_key_name
  labels                     = var.labels
  message_storage_policy {
    allowed_persistence_regions = local.storage_regions
    enforce_in_transit          = var.enforce_in_transit
  }
  depends_on = [google_project_service.api, google_kms_crypto_key_iam_member.agent]
}

# What workers hold is un-acked, for tens of seconds, on purpose.
resource "google_pubsub_subscription" "payloads" {
  project = var.project_id
  name    = local.subscription
  topic   = google_pubsub_topic.payloads.id
  labels  = var.labels
  # The stream asks for hold.lease itself. This one is for what is delivered otherwise, and so that whoever looks sees one number.
  ack_deadline_seconds       = var.ack_deadline_seconds
  message_retention_duration = var.subscription_retention
  retain_acked_messages      = false
  # Order would tie all messages of a key to one worker and stall them when workers come and go; exactly-once would make every
  # extension of a lease a round trip that must succeed. The fleet needs neither: it decides by facts.
  enable_message_ordering      = false
  enable_exactly_once_delivery = false
  # No retry_policy: with one, a message that a leaving worker hands back would wait for its backoff instead of going to the next.
  expiration_policy {
    ttl = "" # never: an expired subscription takes its backlog along
  }
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters.id
    max_delivery_attempts = var.max_delivery_attempts
  }
}

# Facts are worth something for seconds. After ten minutes without a leader the next one asks for everything anew.
resource "google_pubsub_topic" "facts" {
  project      = var.project_id
  name         = local.facts_topic
  kms_key_name = var.kms_key_name
  labels       = var.labels
  message_storage_policy {
    allowed_persistence_regions = local.storage_regions
    enforce_in_transit          = var.enforce_in_transit
  }
  depends_on = [google_project_service.api, google_kms_crypto_key_iam_member.agent]
}

resource "google_pubsub_subscription" "facts" {
  project                      = var.project_id
  name                         = local.facts_subscription
  topic                        = google_pubsub_topic.facts.id
  labels                       = var.labels
  ack_deadline_seconds         = 10
  message_retention_duration   = "600s"
  retain_acked_messages        = false
  enable_message_ordering      = false
  enable_exactly_once_delivery = false
  expiration_policy {
    ttl = ""
  }
}

# The log of decisions. Its subscriptions are the workers' own: each makes an ordered one when it starts and deletes it when it
# leaves, so Terraform has none of them.
resource "google_pubsub_topic" "log" {
  project                    = var.project_id
  name                       = local.log_topic
  message_retention_duration = var.log_retention
  kms_key_name               = var.kms_key_name
  labels                     = var.labels
  message_storage_policy {
    # One region, whatever storage_regions says: order holds among messages that are published in one region.
    allowed_persistence_regions = [var.region]
    enforce_in_transit          = var.enforce_in_transit
  }
  depends_on = [google_project_service.api, google_kms_crypto_key_iam_member.agent]
  lifecycle {
    precondition {
      condition     = try(tonumber(trimsuffix(var.log_retention, "s")), 0) >= local.durations.replay + 60
      error_message = "log_retention must be a minute more than fleet_timing.replay at least: a worker that starts reads the log that far back."
    }
  }
}

resource "google_pubsub_topic" "dead_letters" {
  project      = var.project_id
  name         = local.dead_letter_topic
  kms_key_name = var.kms_key_name
  labels       = var.labels
  message_storage_policy {
    allowed_persistence_regions = local.storage_regions
    enforce_in_transit          = var.enforce_in_transit
  }
  depends_on = [google_project_service.api, google_kms_crypto_key_iam_member.agent]
}

# Without a subscription a dead letter is gone as soon as it is published. This one keeps them until somebody looks: nobody pulls it.
resource "google_pubsub_subscription" "dead_letters" {
  project                      = var.project_id
  name                         = "${local.dead_letter_topic}-keep"
  topic                        = google_pubsub_topic.dead_letters.id
  labels                       = var.labels
  ack_deadline_seconds         = 600 # a person reads them
  message_retention_duration   = var.dead_letter_retention
  retain_acked_messages        = false
  enable_message_ordering      = false
  enable_exactly_once_delivery = false
  expiration_policy {
    ttl = ""
  }
}
