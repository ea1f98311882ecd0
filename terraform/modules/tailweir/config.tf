# The workers' file. It is passed on as the text it is, and what the module has to say goes into the environment, which wins. It never
# goes through yamldecode and yamlencode: Terraform's YAML reads `off` as false and drops comments and line numbers, and
# `always_above: off` would become `false`, which a worker refuses.
locals {
  worker_file = trimspace(var.config) == "" ? "# Everything is the default.\n" : "${chomp(var.config)}\n" # a secret may not be empty

  # Probes come from outside the container, and the console is on its loopback: it shows users' data. This port shows health and
  # metrics alone.
  admin_port = 8081

  # What the file says, for checks at plan time; what it does not say is the default of docs/settings.md.
  decoded = try({ for k, v in yamldecode(var.config) : k => v }, {})
  timing  = try({ for k, v in local.decoded.fleet_timing : k => v }, {})
  hold    = try({ for k, v in local.decoded.hold : k => v }, {})

  # Durations as Go writes them, in seconds: "1m30s" is 90.
  units = { h = 3600, m = 60, s = 1, ms = 0.001, us = 0.000001, ns = 0.000000001 }
  durations = {
    for name, text in {
      death    = try(tostring(local.timing.death), "12s")
      replay   = try(tostring(local.timing.replay), "10m")
      lease    = try(tostring(local.hold.lease), "10s")
      shutdown = try(tostring(local.decoded.shutdown), "8s")
    } : name => sum(concat([0], [for part in regexall("([0-9.]+)(h|ms|us|ns|m|s)", text) : tonumber(part[0]) * local.units[part[1]]]))
  }

  # Sizes as docs/settings.md writes them, in bytes: "1.5 GiB" and 1610612736 are the same.
  sizes = {
    for name, text in {
      hold   = try(tostring(local.hold.max_bytes), "512MiB")
      window = try(tostring(local.decoded.window.max_bytes), "256MiB")
    } : name => try(tonumber(text), sum([for part in regexall("^([0-9.]+) ?([KMGT]i?B|kB|B)$", trimspace(text)) : tonumber(part[0]) * local.size_units[part[1]]]), 0)
  }
  size_units = {
    B   = 1, kB = 1000, KB = 1000, MB = 1000000, GB = 1000000000, TB = 1000000000000
    KiB = 1024, MiB = 1048576, GiB = 1073741824, TiB = 1099511627776
  }

  worker_env = merge({
    GOOGLE_CLOUD_PROJECT        = var.project_id
    TAILWEIR_CONFIG             = "/etc/tailweir/worker.yaml"
    TAILWEIR_TOPIC              = google_pubsub_topic.payloads.name
    TAILWEIR_SUBSCRIPTION       = google_pubsub_subscription.payloads.name
    TAILWEIR_DEAD_LETTER_TOPIC  = google_pubsub_topic.dead_letters.name
    TAILWEIR_FACTS_TOPIC        = google_pubsub_topic.facts.name
    TAILWEIR_FACTS_SUBSCRIPTION = google_pubsub_subscription.facts.name
    TAILWEIR_LOG_TOPIC          = google_pubsub_topic.log.name
    TAILWEIR_LOG_PREFIX         = local.log_prefix
    TAILWEIR_ADMIN              = ":${local.admin_port}"
  }, local.metrics_env)
  ingest_env = merge({
    GOOGLE_CLOUD_PROJECT = var.project_id
    TAILWEIR_TOPIC       = google_pubsub_topic.payloads.name
    }, local.metrics_env, trimspace(var.ingest_config) == "" ? {} : {
    TAILWEIR_CONFIG = "/etc/tailweir/ingest.yaml"
    }, local.ask_keys ? {
    TAILWEIR_KEYS = "/etc/tailweir-keys/keys.yaml"
    } : {}, contains(var.ingest_auth, "none") ? {
    TAILWEIR_AUTH = "none"
  } : {})

  # Name and number of its version.
  redact_key = var.ingest_redact_key == null ? null : split("/versions/", var.ingest_redact_key)

  # Apart from ingest_keys, which is sensitive: what depends on that could be in no for_each.
  ask_keys = contains(var.ingest_auth, "keys")

  config_files = merge(
    { worker = local.worker_file },
    trimspace(var.ingest_config) == "" ? {} : { ingest = "${chomp(var.ingest_config)}\n" },
    # Not ephemeral: the number of its version could not be made of an ephemeral text, and one that is counted by hand is forgotten
    # some day, and a withdrawn key stays valid. The text has hashes alone.
    local.ask_keys ? { ingest-keys = "${chomp(var.ingest_keys)}\n" } : {},
  )
}

# The files are secrets, since a worker's may hold the headers of exporters. Each process may read its own only.
resource "google_secret_manager_secret" "config" {
  for_each  = local.config_files
  project   = var.project_id
  secret_id = "${var.name}-${each.key}-config"
  labels    = var.labels
  replication {
    # In the fleet's region alone, like the messages.
    user_managed {
      replicas {
        location = var.region
        dynamic "customer_managed_encryption" {
          for_each = var.kms_key_name == null ? [] : [var.kms_key_name]
          content {
            kms_key_name = customer_managed_encryption.value
          }
        }
      }
    }
  }
  depends_on = [google_project_service.api, google_kms_crypto_key_iam_member.agent]
}

# A write-only attribute: the text is in no state file. (It is in plan files as long as it is a plain variable: keep those as you
# would keep the file itself.) Terraform cannot see that a write-only value changed, so the version is a number made of the text.
resource "google_secret_manager_secret_version" "config" {
  for_each               = local.config_files
  secret                 = google_secret_manager_secret.config[each.key].id
  secret_data_wo         = each.value
  secret_data_wo_version = parseint(substr(sha256(each.value), 0, 12), 16)
  # An old version stays: instances of the old revision may start once more during a rollout, and after a rollback.
  deletion_policy = "ABANDON"
  lifecycle {
    create_before_destroy = true
    precondition {
      condition     = each.key != "worker" || local.durations.death >= var.ack_deadline_seconds + 2
      error_message = "config: fleet_timing.death must be at least ack_deadline_seconds and 2 s, so that a killed worker's messages are with others before it is taken for dead."
    }
    precondition {
      condition     = each.key != "worker" || local.durations.death >= local.durations.lease + 2
      error_message = "config: fleet_timing.death must be at least hold.lease and 2 s, as the workers themselves demand."
    }
    precondition {
      condition     = each.key != "worker" || local.durations.shutdown <= (local.mig ? var.mig_grace_seconds - 5 : 9)
      error_message = "config: shutdown must end before the worker is killed: 9s at most on Cloud Run, which kills 10 s after SIGTERM, and 5 s less than mig_grace_seconds on a managed instance group."
    }
  }
}

resource "google_secret_manager_secret_iam_member" "config" {
  for_each  = local.config_files
  project   = var.project_id
  secret_id = google_secret_manager_secret.config[each.key].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = each.key == "worker" ? google_service_account.worker.member : google_service_account.ingest.member
}

resource "google_secret_manager_secret_iam_member" "redact_key" {
  count     = var.ingest_redact_key == null ? 0 : 1
  project   = var.project_id
  secret_id = local.redact_key[0]
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.ingest.member
}
