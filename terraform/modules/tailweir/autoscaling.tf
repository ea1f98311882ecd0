# The worker pool's number set by CREMA, Google's external metrics autoscaler (Preview): a Cloud Run service that asks Cloud Monitoring and
# writes the pool's manual count, by KEDA's scalers inside. Written after its README and configuration of November 2026
# (github.com/GoogleCloudPlatform/cloud-run-external-metrics-autoscaling); it was never run.
locals {
  autoscaled = local.pool && var.worker_autoscaling != null

  # The formula of docs/scaling.md: u, the share of CPU at which a worker's memory is as full as it should be, and c, the messages
  # a second that make it so. k is the CPU-seconds of a span, 674 B what the hold needs for one, 40 the spans in a message.
  window_idle = sum(concat([0], [for part in regexall("([0-9.]+)(h|ms|us|ns|m|s)", try(tostring(local.decoded.window.idle), "15s")) : tonumber(part[0]) * local.units[part[1]]]))
  scaling_u   = min(0.6, 0.8 * local.sizes.hold * 0.00001 / (tonumber(var.worker_cpu) * 674 * (local.window_idle + 4 + 20)))
  scaling_c   = floor(local.scaling_u * tonumber(var.worker_cpu) / (0.00001 * 40))

  # The rate of publishing, since it is the one signal that does not ask for more workers when a backend is away (docs/scaling.md), and
  # CREMA has no CPU of its own. Not undelivered messages: they are held on purpose. KEDA's scalers for Pub/Sub and Cloud Monitoring's filters are
  # deprecated by KEDA in favour of this one, which speaks PromQL.
  # offset: Cloud Monitoring shows what Pub/Sub counted up to 240 s later. Without it the last two minutes would be empty, or count in part.
  # ignoreNullValues is false: no answer is no reason to take workers away, as 0 would be.
  # behavior must be there: without it CREMA forgets the bounds (its translation.go passes min and max within it alone).
  # Out at once; in after 10 minutes of a lower wish, a tenth of the workers in a minute or one, as the simulation does.
  autoscaler_config = local.autoscaled ? {
    apiVersion = "crema/v1"
    kind       = "CremaConfig"
    metadata   = { name = "${var.name}-scaler" }
    spec = {
      pollingInterval        = 30
      triggerAuthentications = [{ metadata = { name = "own-account" }, spec = { podIdentity = { provider = "gcp" } } }]
      scaledObjects = [{
        spec = {
          scaleTargetRef  = { name = "projects/${var.project_id}/locations/${var.region}/workerpools/${google_cloud_run_v2_worker_pool.autoscaled[0].name}" }
          minReplicaCount = var.worker_autoscaling.min
          maxReplicaCount = var.worker_autoscaling.max
          triggers = [{
            type       = "prometheus"
            name       = "publish-rate"
            metricType = "AverageValue"
            metadata = {
              serverAddress    = "https://monitoring.googleapis.com/v1/projects/${var.project_id}/location/global/prometheus"
              query            = "sum(rate(pubsub_googleapis_com:topic_send_message_operation_count{monitored_resource=\"pubsub_topic\",topic_id=\"${google_pubsub_topic.payloads.name}\"}[2m] offset 4m))"
              threshold        = tostring(coalesce(var.worker_autoscaling.messages_per_second, local.scaling_c))
              ignoreNullValues = "false"
            }
            authenticationRef = { name = "own-account" }
          }]
          advanced = {
            horizontalPodAutoscalerConfig = {
              behavior = {
                scaleUp = {
                  stabilizationWindowSeconds = 0
                  policies                   = [{ type = "Pods", value = var.worker_autoscaling.max, periodSeconds = 60 }]
                }
                scaleDown = {
                  stabilizationWindowSeconds = 600
                  policies                   = [{ type = "Percent", value = 10, periodSeconds = 60 }, { type = "Pods", value = 1, periodSeconds = 60 }]
                }
              }
            }
          }
        }
      }]
    }
  } : null
  autoscaler_text = local.autoscaled ? yamlencode(local.autoscaler_config) : ""
}

# The same pool as google_cloud_run_v2_worker_pool.worker, but that the number is another's: ignore_changes cannot depend on a variable,
# so it takes a second resource. A test holds the two texts together. Moving a pool from one to the other: docs/terraform.md.
resource "google_cloud_run_v2_worker_pool" "autoscaled" {
  count               = local.autoscaled ? 1 : 0
  project             = var.project_id
  name                = "${var.name}-worker"
  location            = var.region
  description         = "Tailweir: holds payloads, decides, exports"
  labels              = var.labels
  deletion_protection = var.deletion_protection

  scaling {
    manual_instance_count = var.worker_autoscaling.min # at first
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
      startup_probe {
        period_seconds    = 5
        timeout_seconds   = 3
        failure_threshold = 48
        http_get {
          path = "/readyz"
          port = local.admin_port
        }
      }
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
          path    = "worker.yaml"
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
    ignore_changes = [scaling]
    precondition {
      condition     = local.sizes.hold + local.sizes.window <= 0.75 * local.worker_memory_mib * 1048576
      error_message = "config: hold.max_bytes (512MiB by default) and window.max_bytes (256MiB) must be three quarters of worker_memory at most."
    }
  }

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

# Its own account: it may read its configuration and metrics, and change this one pool.
resource "google_service_account" "scaler" {
  count        = local.autoscaled ? 1 : 0
  project      = var.project_id
  account_id   = "${var.name}-scaler"
  display_name = "Tailweir autoscaler: sets the number of workers, nothing else"
}

resource "google_cloud_run_v2_worker_pool_iam_member" "scaler_sets_count" {
  count    = local.autoscaled ? 1 : 0
  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_worker_pool.autoscaled[0].name
  role     = "roles/run.developer"
  member   = google_service_account.scaler[0].member
}

# An update of a pool demands the right to act as the account that it runs as. So whoever has the autoscaler's account can run another
# image as a worker: it is as much worth as the worker's.
resource "google_service_account_iam_member" "scaler_acts_as_worker" {
  count              = local.autoscaled ? 1 : 0
  service_account_id = google_service_account.worker.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.scaler[0].member
}

resource "google_project_iam_member" "scaler_reads" {
  for_each = local.autoscaled ? toset(["roles/monitoring.viewer", "roles/parametermanager.parameterViewer"]) : toset([])
  project  = var.project_id
  role     = each.value
  member   = google_service_account.scaler[0].member
}

# Names and numbers, no secrets. Parameters that CREMA reads are in the location global, where a key of region cannot encrypt them.
resource "google_parameter_manager_parameter" "scaler" {
  count        = local.autoscaled ? 1 : 0
  project      = var.project_id
  parameter_id = "${var.name}-scaler"
  format       = "YAML"
  labels       = var.labels
  depends_on   = [google_project_service.api]
}

# A version cannot be changed, so another text is another version, and another revision of the service that reads it once, at its start.
resource "google_parameter_manager_parameter_version" "scaler" {
  count                = local.autoscaled ? 1 : 0
  parameter            = google_parameter_manager_parameter.scaler[0].id
  parameter_version_id = "v${substr(sha256(local.autoscaler_text), 0, 12)}"
  parameter_data       = local.autoscaler_text
  lifecycle {
    create_before_destroy = true
  }
}

resource "google_cloud_run_v2_service" "scaler" {
  count                = local.autoscaled ? 1 : 0
  project              = var.project_id
  name                 = "${var.name}-scaler"
  location             = var.region
  description          = "Tailweir: sets the number of workers"
  labels               = merge(var.labels, { created-by = "crema" })
  ingress              = "INGRESS_TRAFFIC_INTERNAL_ONLY" # nobody calls it: it polls
  invoker_iam_disabled = false
  deletion_protection  = false # it holds nothing, and without it the pool stays as large as it is

  # One, always: two would overwrite each other's number.
  scaling {
    scaling_mode          = "MANUAL"
    manual_instance_count = 1
  }

  template {
    service_account = google_service_account.scaler[0].email
    labels          = var.labels
    encryption_key  = var.kms_key_name

    containers {
      image          = var.worker_autoscaler_image
      base_image_uri = var.worker_autoscaler_base_image
      resources {
        limits   = { cpu = "1", memory = "512Mi" } # what gcloud gives it where its README says nothing
        cpu_idle = false                           # it polls between requests, of which there are none
      }
      env {
        name  = "CREMA_CONFIG"
        value = google_parameter_manager_parameter_version.scaler[0].name
      }
      env {
        name  = "OUTPUT_SCALER_METRICS"
        value = "False"
      }
      env {
        name  = "ENABLE_CLOUD_LOGGING"
        value = "False"
      }
    }
  }

  depends_on = [
    google_project_service.api,
    google_project_iam_member.scaler_reads,
    google_cloud_run_v2_worker_pool_iam_member.scaler_sets_count,
    google_service_account_iam_member.scaler_acts_as_worker,
    google_kms_crypto_key_iam_member.agent,
  ]
}
