# The ingest: OTLP over HTTP and gRPC on one port. It answers with success only when Pub/Sub has confirmed.
locals {
  otlp_port         = 4318
  ingest_shutdown   = try(tostring(yamldecode(var.ingest_config).shutdown), "8s")
  ingest_shutdown_s = sum(concat([0], [for part in regexall("([0-9.]+)(h|ms|us|ns|m|s)", local.ingest_shutdown) : tonumber(part[0]) * local.units[part[1]]]))
}

resource "google_cloud_run_v2_service" "ingest" {
  project              = var.project_id
  name                 = "${var.name}-ingest"
  location             = var.region
  description          = "Tailweir: OTLP in, Pub/Sub out"
  labels               = var.labels
  ingress              = var.ingest_ingress
  invoker_iam_disabled = !var.ingest_invoker_iam
  deletion_protection  = var.deletion_protection

  template {
    service_account                  = google_service_account.ingest.email
    labels                           = var.labels
    encryption_key                   = var.kms_key_name
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    max_instance_request_concurrency = var.ingest_concurrency
    # A request is done in 10 s for its body and ingest.publish_timeout (8 s); apps give up after 10 s themselves.
    timeout = "30s"

    scaling {
      min_instance_count = var.ingest_min_instances
      max_instance_count = var.ingest_max_instances
    }

    containers {
      image   = var.image
      command = var.ingest_command

      # h2c: with it gRPC and HTTP/1 both reach the one port, and Cloud Run's 32 MiB bound of HTTP/1 requests does not hold.
      ports {
        name           = "h2c"
        container_port = local.otlp_port # also becomes PORT
      }
      resources {
        limits = { cpu = var.ingest_cpu, memory = var.ingest_memory }
        # false: CPU also between requests. Publishes are batched and confirmed in the background; without CPU they would stand
        # still until the next request, and their apps would wait.
        cpu_idle          = !var.ingest_cpu_always
        startup_cpu_boost = true
      }
      dynamic "env" {
        for_each = local.ingest_env
        content {
          name  = env.key
          value = env.value
        }
      }
      dynamic "env" {
        for_each = local.redact_key == null ? [] : [local.redact_key]
        content {
          name = "TAILWEIR_REDACT_KEY"
          value_source {
            secret_key_ref {
              secret  = env.value[0]
              version = env.value[1]
            }
          }
        }
      }
      # gRPC probes on the same port, since Cloud Run's HTTP probes speak HTTP/1 only.
      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 1
        failure_threshold = 30
        grpc {
          port = local.otlp_port
        }
      }
      liveness_probe {
        period_seconds    = 10
        timeout_seconds   = 5
        failure_threshold = 3
        grpc {
          port = local.otlp_port
        }
      }
      dynamic "volume_mounts" {
        for_each = contains(keys(local.config_files), "ingest") ? ["config"] : []
        content {
          name       = volume_mounts.value
          mount_path = "/etc/tailweir"
        }
      }
      dynamic "volume_mounts" {
        for_each = local.ask_keys ? ["keys"] : []
        content {
          name       = volume_mounts.value
          mount_path = "/etc/tailweir-keys"
        }
      }
    }

    dynamic "volumes" {
      for_each = contains(keys(local.config_files), "ingest") ? ["config"] : []
      content {
        name = volumes.value
        secret {
          secret = google_secret_manager_secret.config["ingest"].secret_id
          items {
            path    = "ingest.yaml"
            version = google_secret_manager_secret_version.config["ingest"].version
          }
        }
      }
    }

    # The latest version, not the one of this text: the ingest follows its file, so keys come and go without a new revision, and a
    # rollback brings no withdrawn key back.
    dynamic "volumes" {
      for_each = local.ask_keys ? ["keys"] : []
      content {
        name = volumes.value
        secret {
          secret = google_secret_manager_secret.config["ingest-keys"].secret_id
          items {
            path    = "keys.yaml"
            version = "latest"
          }
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
    precondition {
      condition     = local.ingest_shutdown_s <= 9
      error_message = "ingest_config: shutdown must be 9s at most: Cloud Run kills 10 s after SIGTERM."
    }
  }
  # Not before it may publish: its first requests would be refused. Not before the subscriptions: what is published before is not in
  # them. And a destroy begins with this service, which deletion_protection refuses, so it never comes to subscriptions with un-acked data.
  depends_on = [
    google_project_service.api,
    google_pubsub_subscription.dead_letters,
    google_pubsub_subscription.payloads,
    google_pubsub_topic_iam_member.ingest_publishes_payloads,
    google_secret_manager_secret_iam_member.config,
    google_secret_manager_secret_iam_member.redact_key,
    google_secret_manager_secret_version.config,
    google_kms_crypto_key_iam_member.agent,
  ]
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = var.ingest_invokers
  project  = var.project_id
  name     = google_cloud_run_v2_service.ingest.name
  location = google_cloud_run_v2_service.ingest.location
  role     = "roles/run.invoker"
  member   = each.value
}
