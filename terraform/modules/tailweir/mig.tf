# The second way to run workers: virtual machines with Container-Optimized OS in a managed instance group with an autoscaler.
# What it has over a worker pool: it scales by itself, a longer grace, and the console by a tunnel.
locals {
  # cloud-init reads JSON as YAML. The worker's file is not in here: metadata can be read by everybody who sees the project.
  cloud_init = join("\n", ["#cloud-config", jsonencode({
    write_files = [
      {
        path        = "/etc/tailweir/worker.sh"
        permissions = "0644"
        content = templatefile("${path.module}/worker.sh.tftpl", {
          admin_port     = local.admin_port
          image          = var.image
          registry       = split("/", var.image)[0]
          secret_version = google_secret_manager_secret_version.config["worker"].name
        })
      },
      {
        path        = "/etc/tailweir/worker.env"
        permissions = "0644"
        content     = join("", [for k, v in local.worker_env : "${k}=${v}\n"])
      },
      {
        path        = "/etc/systemd/system/tailweir-worker.service"
        permissions = "0644"
        content = templatefile("${path.module}/worker.service.tftpl", {
          image      = var.image
          entrypoint = var.worker_command[0]
          arguments  = join("", [for a in slice(var.worker_command, 1, length(var.worker_command)) : " ${a}"])
          grace      = var.mig_grace_seconds
        })
      },
    ]
    runcmd = ["systemctl daemon-reload", "systemctl enable --now --no-block tailweir-worker.service"]
  })])
}

resource "google_compute_instance_template" "worker" {
  count        = local.mig ? 1 : 0
  project      = var.project_id
  name_prefix  = "${var.name}-worker-"
  description  = "Tailweir worker"
  region       = var.region
  machine_type = var.mig_machine_type
  labels       = var.labels

  disk {
    boot         = true
    auto_delete  = true
    source_image = var.mig_boot_image
    disk_size_gb = 10 # nothing of a worker is on it: what it holds is in Pub/Sub
    disk_type    = "pd-balanced"
    dynamic "disk_encryption_key" {
      for_each = var.kms_key_name == null ? [] : [var.kms_key_name]
      content {
        kms_key_self_link = disk_encryption_key.value
      }
    }
  }

  # No access_config: no external address. Google's APIs are reached by Private Google Access of the subnetwork.
  network_interface {
    network    = local.network
    subnetwork = local.subnetwork
  }

  service_account {
    email  = google_service_account.worker.email
    scopes = ["https://www.googleapis.com/auth/cloud-platform"] # the roles of the account are the bound
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  metadata = {
    user-data                 = local.cloud_init
    google-logging-enabled    = "true" # the container's lines go to Cloud Logging
    enable-oslogin            = "TRUE"
    block-project-ssh-keys    = "TRUE"
    serial-port-enable        = "FALSE"
    cos-update-strategy       = "update_disabled" # a new template brings a new image; machines do not restart by themselves
    google-monitoring-enabled = "true"
  }

  depends_on = [google_project_service.api, google_kms_crypto_key_iam_member.agent]
  lifecycle {
    create_before_destroy = true # a group keeps its template until it has the new one
    precondition {
      condition     = local.network != null && local.subnetwork != null
      error_message = "worker_platform \"mig\" needs a network: set create_network, or network and subnetwork."
    }
  }
}

resource "google_compute_health_check" "worker" {
  count               = local.mig ? 1 : 0
  project             = var.project_id
  name                = "${var.name}-worker"
  check_interval_sec  = 10
  timeout_sec         = 5
  healthy_threshold   = 1
  unhealthy_threshold = 6 # a minute: a restart costs a readback of the log, and most things heal sooner
  http_health_check {
    port         = local.admin_port
    request_path = "/healthz"
  }
  depends_on = [google_project_service.api]
}

resource "google_compute_region_instance_group_manager" "worker" {
  count              = local.mig ? 1 : 0
  project            = var.project_id
  name               = "${var.name}-worker"
  region             = var.region
  base_instance_name = "${var.name}-worker"
  # No target_size: the autoscaler sets it, and each would undo the other.

  version {
    instance_template = google_compute_instance_template.worker[0].id
  }

  auto_healing_policies {
    health_check      = google_compute_health_check.worker[0].id
    initial_delay_sec = 180 # boot, pull, and the first claim of a new fleet
  }

  # New ones first. A regional group takes at least as many at once as it has zones, usually three.
  update_policy {
    type                         = "PROACTIVE"
    minimal_action               = "REPLACE"
    replacement_method           = "SUBSTITUTE"
    max_surge_fixed              = 3
    max_unavailable_fixed        = 0
    instance_redistribution_type = "PROACTIVE"
  }

  depends_on = [
    google_project_iam_member.worker_reads_log,
    google_project_iam_member.worker_uses_quota,
    google_project_iam_member.worker_writes_logs,
    google_project_iam_member.worker_writes_traces,
    google_pubsub_subscription.dead_letters,
    google_pubsub_subscription_iam_member.worker_pulls,
    google_pubsub_topic_iam_member.worker_log,
    google_pubsub_topic_iam_member.worker_publishes,
    google_secret_manager_secret_iam_member.config,
    google_artifact_registry_repository_iam_member.worker_pulls,
    google_compute_firewall.health,
  ]
}

# By CPU: messages are held on purpose, so the backlog is never zero and says little by itself. mig_messages_per_worker adds it as a
# second signal, for a number far above what a worker holds at its full load; the larger answer of both counts. docs/scaling.md.
resource "google_compute_region_autoscaler" "worker" {
  count   = local.mig ? 1 : 0
  project = var.project_id
  name    = "${var.name}-worker"
  region  = var.region
  target  = google_compute_region_instance_group_manager.worker[0].id

  autoscaling_policy {
    min_replicas    = var.mig_min_instances
    max_replicas    = var.mig_max_instances
    cooldown_period = var.mig_cooldown_seconds
    mode            = "ON"

    cpu_utilization {
      target = var.mig_cpu_target
    }

    dynamic "metric" {
      for_each = var.mig_messages_per_worker == null ? [] : [var.mig_messages_per_worker]
      content {
        name                       = "pubsub.googleapis.com/subscription/num_undelivered_messages"
        filter                     = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${google_pubsub_subscription.payloads.name}\""
        single_instance_assignment = metric.value
      }
    }

    # One at a time: each worker that leaves hands back what it holds, and the others take it in again.
    scale_in_control {
      max_scaled_in_replicas {
        fixed = 1
      }
      time_window_sec = 600
    }
  }
}
