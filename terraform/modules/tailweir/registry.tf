resource "google_artifact_registry_repository" "images" {
  count         = var.create_registry ? 1 : 0
  project       = var.project_id
  location      = var.region
  repository_id = var.name
  description   = "Images of Tailweir"
  format        = "DOCKER"
  kms_key_name  = var.kms_key_name
  labels        = var.labels
  docker_config {
    immutable_tags = true # a tag that was rolled out stays what it was, so that a rollback is one
  }
  cleanup_policies {
    id     = "keep-latest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 20
    }
  }
  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "7776000s" # 90 days, but for the latest 20
    }
  }
  depends_on = [google_project_service.api, google_kms_crypto_key_iam_member.agent]
}

# Cloud Run pulls images by its own agent. A virtual machine pulls them as its service account.
resource "google_artifact_registry_repository_iam_member" "worker_pulls" {
  count      = var.create_registry && local.mig ? 1 : 0
  project    = var.project_id
  location   = var.region
  repository = google_artifact_registry_repository.images[0].name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.worker.member
}
