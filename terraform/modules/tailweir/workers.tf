locals {
  pool = var.worker_platform == "worker_pool"
  mig  = var.worker_platform == "mig"

  # Go's collector works harder before the container is killed for its memory. A tenth is left for what is not on the heap.
  worker_memory_mib = tonumber(regex("^[0-9]+", var.worker_memory)) * (endswith(var.worker_memory, "Gi") ? 1024 : 1)
}

# The workers as a Cloud Run worker pool: they pull, so there is no port, no URL and no ingress.
resource "google_cloud_run_v2_worker_pool" "worker" {
  count               = local.pool && !local.autoscaled ? 1 : 0
  project             = var.project_id
  name                = "${var.name}-worker"
  location            = var.region
  description         = "Tailweir: holds payloads, decides, exports"
  labels              = var.labels
  deletion_protection = var.deletion_protection

  # The API has a manual count alone. The provider's schema also offers a mode and bounds, which the API does not know.
  scaling {
    manual_instance_count = var.worker_instances
  }

  template {
    service_account = google_service_account.worker.email
    labels          = var.labels
    encryption_key  = var.kms_key_name

    containers {
      image   = var.image
      command = var.worker_command
      resources {
        limits = { cpu = var.worker_cpu, memory = var.worker_memory }
      }
      dynamic "env" {
        for_each = merge(local.worker_env, { GOMEMLIMIT = "${floor(local.worker_memory_mib * 0.9)}MiB" })
        content {
          name  = env.key
          value = env.value
        }
      }
      # Ready is when the leader has listed the worker: up to 17 s in a new fleet, a second or two in a running one. 4 minutes is
      # the longest that Cloud Run waits.
      startup_probe {
        period_seconds    = 5
        timeout_seconds   = 3
        failure_threshold = 48
        http_get {
          path = "/readyz"
          port = local.admin_port
        }
      }
      # /healthz and not /readyz: a worker that is not ready since Pub/Sub is away heals by itself, and a restart would only make it
      # read the log back.
      liveness_probe {
        period_seconds    = 10
        timeout_seconds   = 5
        failure_threshold = 3
        http_get {
          path = "/healthz"
          port = local.admin_port
        }
      }
      volume_mounts {
        name       = "config"
        mount_path = "/etc/tailweir"
      }
    }

    volumes {
      name = "config"
      secret {
        secret = google_secret_manager_secret.config["worker"].secret_id
        items {
          path = "worker.yaml"
          # A number, not "latest": another file is another revision, so all workers get it, and a rollback brings it back.
          version = google_secret_manager_secret_version.config["worker"].version
        }
      }
    }

    dynamic "vpc_access" {
      for_each = var.attach_vpc ? [true] : []
      content {
        egress = "PRIVATE_RANGES_ONLY"
        network_interfaces {
          network    = local.network
          subnetwork = local.subnetwork
        }
      }
    }
  }

  lifecycle {
    # Else it is killed for its memory, again and again, under the very load for which the hold is there.
    precondition {
      condition     = local.sizes.hold + local.sizes.window <= 0.75 * local.worker_memory_mib * 1048576
      error_message = "config: hold.max_bytes (512MiB by default) and window.max_bytes (256MiB) must be three quarters of worker_memory at most."
    }
  }

  # Not before it may do all it does: a worker that lacks a permission at the start ends with an error.
  depends_on = [
    google_project_service.api,
    google_project_iam_member.worker_reads_log,
    google_project_iam_member.worker_uses_quota,
    google_project_iam_member.worker_writes_logs,
    google_project_iam_member.worker_writes_traces,
    google_pubsub_subscription.dead_letters,
    google_pubsub_subscription_iam_member.worker_pulls,
    google_pubsub_topic_iam_member.worker_log,
    google_pubsub_topic_iam_member.worker_publishes,
    google_secret_manager_secret_iam_member.config,
    google_kms_crypto_key_iam_member.agent,
  ]
}
