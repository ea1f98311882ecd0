locals {
  apis = toset(concat(
    [
      "artifactregistry.googleapis.com",
      "iam.googleapis.com",
      "pubsub.googleapis.com",
      "run.googleapis.com",
      "secretmanager.googleapis.com",
    ],
    # With Cloud Trace off, the Telemetry API accepts spans and discards them.
    var.google_exporters ? ["cloudtrace.googleapis.com", "logging.googleapis.com", "telemetry.googleapis.com"] : [],
    local.mig || var.create_network || var.load_balancer != "none" ? ["compute.googleapis.com"] : [],
    local.autoscaled ? ["monitoring.googleapis.com", "parametermanager.googleapis.com"] : [],
  ))
}

# disable_on_destroy is false: others in the project may use the same API.
resource "google_project_service" "api" {
  for_each           = var.enable_apis ? local.apis : toset([])
  project            = var.project_id
  service            = each.value
  disable_on_destroy = false
}
