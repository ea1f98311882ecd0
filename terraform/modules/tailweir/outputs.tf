output "otlp_url" {
  description = "Where apps send OTLP to, HTTP and gRPC on the same address. Example: https://tailweir-ingest-abc123-ew.a.run.app"
  value       = google_cloud_run_v2_service.ingest.uri
}

output "app_environment" {
  description = "What to put into an app's environment. always_on, since Cloud Run's front end marks most requests as not sampled, and SDKs would drop them before anybody sees them."
  value = {
    OTEL_EXPORTER_OTLP_ENDPOINT    = google_cloud_run_v2_service.ingest.uri
    OTEL_EXPORTER_OTLP_PROTOCOL    = "http/protobuf"
    OTEL_TRACES_SAMPLER            = "always_on"
    OTEL_EXPORTER_OTLP_COMPRESSION = "gzip" # Pub/Sub is paid for by the byte as it came, twice: docs/costs.md
  }
}

output "worker_environment" {
  description = "The workers' environment: also what tailweir fleet and tailweir probe need to find the same project and log."
  value       = local.worker_env
}

output "ingest_service" {
  description = "Name of the Cloud Run service."
  value       = google_cloud_run_v2_service.ingest.name
}

output "worker_name" {
  description = "Name of the worker pool or of the managed instance group; empty with worker_platform \"none\"."
  value       = local.autoscaled ? google_cloud_run_v2_worker_pool.autoscaled[0].name : local.pool ? google_cloud_run_v2_worker_pool.worker[0].name : local.mig ? google_compute_region_instance_group_manager.worker[0].name : ""
}

output "console" {
  description = "How to reach a worker's console. A worker pool has no address: there tailweir fleet reads the same from the log."
  value = (local.mig
    ? "gcloud compute ssh INSTANCE --project ${var.project_id} --tunnel-through-iap -- -N -L 8080:localhost:8080"
    : "TAILWEIR_LOG_TOPIC=${google_pubsub_topic.log.name} tailweir fleet --project ${var.project_id}"
  )
}

output "service_accounts" {
  description = "E-mail addresses of the two service accounts."
  value = {
    ingest = google_service_account.ingest.email
    worker = google_service_account.worker.email
  }
}

output "topics" {
  description = "Names of the topics."
  value = {
    payloads     = google_pubsub_topic.payloads.name
    facts        = google_pubsub_topic.facts.name
    log          = google_pubsub_topic.log.name
    dead_letters = google_pubsub_topic.dead_letters.name
  }
}

output "subscriptions" {
  description = "Names of the subscriptions. Those on the log are the workers' own."
  value = {
    payloads     = google_pubsub_subscription.payloads.name
    facts        = google_pubsub_subscription.facts.name
    dead_letters = google_pubsub_subscription.dead_letters.name
  }
}

output "image_repository" {
  description = "Where to push images; empty without create_registry. Example: europe-west1-docker.pkg.dev/my-project/tailweir"
  value       = var.create_registry ? "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images[0].repository_id}" : ""
}

output "network" {
  description = "Network and subnetwork for apps that call an internal ingest; null where none was set."
  value       = { network = local.network, subnetwork = local.subnetwork }
}
