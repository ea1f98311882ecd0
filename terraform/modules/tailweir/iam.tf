locals {
  pubsub_agent = "serviceAccount:service-${var.project_number}@gcp-sa-pubsub.iam.gserviceaccount.com"
  # Where workers write traces and logs: their own project, and those that routes name.
  export_projects = var.google_exporters ? setunion([var.project_id], var.export_projects) : toset([])
}

resource "google_service_account" "ingest" {
  project      = var.project_id
  account_id   = "${var.name}-ingest"
  display_name = "Tailweir ingest: publishes payloads, nothing else"
}

resource "google_service_account" "worker" {
  project      = var.project_id
  account_id   = "${var.name}-worker"
  display_name = "Tailweir workers: pull, decide, export"
}

# Ingest: one grant. A stolen token of it can publish payloads, and read nothing.
resource "google_pubsub_topic_iam_member" "ingest_publishes_payloads" {
  project = var.project_id
  topic   = google_pubsub_topic.payloads.name
  role    = "roles/pubsub.publisher"
  member  = google_service_account.ingest.member
}

# Workers publish facts, dead letters, and ticks on the payload topic; the log is below, by a role of its own.
resource "google_pubsub_topic_iam_member" "worker_publishes" {
  for_each = {
    payloads     = google_pubsub_topic.payloads.name
    facts        = google_pubsub_topic.facts.name
    dead_letters = google_pubsub_topic.dead_letters.name
  }
  project = var.project_id
  topic   = each.value
  role    = "roles/pubsub.publisher"
  member  = google_service_account.worker.member
}

resource "google_pubsub_subscription_iam_member" "worker_pulls" {
  for_each = {
    payloads = google_pubsub_subscription.payloads.name
    facts    = google_pubsub_subscription.facts.name
  }
  project      = var.project_id
  subscription = each.value
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.worker.member
}

# Each worker makes, reads, seeks and deletes its own subscription on the log, under a name that nobody knows before. So this
# one is for the project, and holds for its other subscriptions, too: give Tailweir a project of its own where that is too much.
# No predefined role is as small: roles/pubsub.editor may also publish everywhere and delete topics.
resource "google_project_iam_custom_role" "log_reader" {
  project     = var.project_id
  role_id     = "${replace(var.name, "-", "_")}_log_reader"
  title       = "Tailweir: own subscription on the log (${var.name})"
  permissions = ["pubsub.subscriptions.create", "pubsub.subscriptions.get", "pubsub.subscriptions.consume", "pubsub.subscriptions.delete"]
  depends_on  = [google_project_service.api]
}

resource "google_project_iam_member" "worker_reads_log" {
  project = var.project_id
  role    = google_project_iam_custom_role.log_reader.id
  member  = google_service_account.worker.member
}

# topics.get: the leader lists the log's subscriptions, to delete those of workers that died.
resource "google_project_iam_custom_role" "log_topic" {
  project     = var.project_id
  role_id     = "${replace(var.name, "-", "_")}_log_topic"
  title       = "Tailweir: write the log and attach to it (${var.name})"
  permissions = ["pubsub.topics.attachSubscription", "pubsub.topics.get", "pubsub.topics.publish"]
  depends_on  = [google_project_service.api]
}

resource "google_pubsub_topic_iam_member" "worker_log" {
  project = var.project_id
  topic   = google_pubsub_topic.log.name
  role    = google_project_iam_custom_role.log_topic.id
  member  = google_service_account.worker.member
}

# Pub/Sub's own agent moves messages that were delivered too often: it publishes the dead letter and acks the original. Without
# either grant the message stays where it is, and is delivered for ever.
resource "google_pubsub_topic_iam_member" "agent_publishes_dead_letters" {
  project = var.project_id
  topic   = google_pubsub_topic.dead_letters.name
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "agent_acks_payloads" {
  project      = var.project_id
  subscription = google_pubsub_subscription.payloads.name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

resource "google_project_iam_member" "worker_writes_traces" {
  for_each = local.export_projects
  project  = each.value
  role     = "roles/telemetry.writer"
  member   = google_service_account.worker.member
}

resource "google_project_iam_member" "worker_writes_logs" {
  # The own project always: on a managed instance group the process's own log goes to Cloud Logging by this account.
  for_each = setunion(local.export_projects, [var.project_id])
  project  = each.value
  role     = "roles/logging.logWriter"
  member   = google_service_account.worker.member
}

# The Telemetry API counts requests against the quota project.
resource "google_project_iam_member" "worker_uses_quota" {
  count   = var.google_exporters ? 1 : 0
  project = coalesce(var.quota_project, var.project_id)
  role    = "roles/serviceusage.serviceUsageConsumer"
  member  = google_service_account.worker.member
}

# Customer-managed encryption: the agents of the services that store something encrypt with the key.
resource "google_kms_crypto_key_iam_member" "agent" {
  for_each = var.kms_key_name == null ? {} : merge(
    {
      pubsub  = "gcp-sa-pubsub"
      secrets = "gcp-sa-secretmanager"
    },
    var.create_registry ? { registry = "gcp-sa-artifactregistry" } : {},
    { run = "serverless-robot-prod" },
    local.mig ? { compute = "compute-system" } : {},
  )
  crypto_key_id = var.kms_key_name
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:service-${var.project_number}@${each.value}.iam.gserviceaccount.com"
}
