# Alerts. Each says what it means in one sentence and where docs/operations.md says what to do. An alert that fires on a good day is worse
# than none, so nothing here looks at the mere number or age of un-acked messages: some are always held.
locals {
  window_max_age_text = try(tostring(local.decoded.window.max_age), "60s")
  window_max_age      = sum(concat([0], [for part in regexall("([0-9.]+)(h|ms|us|ns|m|s)", local.window_max_age_text) : tonumber(part[0]) * local.units[part[1]]]))
  oldest_unacked      = coalesce(var.alert_oldest_unacked_seconds, ceil(local.window_max_age) + 300)

  of_payloads      = "resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.payloads.name}\""
  of_facts         = "resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.facts.name}\""
  of_payload_topic = "resource.type=\"pubsub_topic\" AND resource.labels.topic_id=\"${google_pubsub_topic.payloads.name}\""
  of_workers       = "resource.type=\"${local.worker_resource}\""

  # Conditions of one shape: a series, aligned over period and reduced to one value, is above (or below) a threshold for duration.
  alerts = {
    oldest_unacked = {
      title    = "payloads wait too long"
      severity = "CRITICAL"
      means    = "A payload is un-acked for more than ${local.oldest_unacked} s: nothing is lost, but its traces are not exported. Workers, backend or the fleet's control plane stand still, or are too few."
      conditions = [{
        filter = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND ${local.of_payloads}"
        align  = "ALIGN_MAX", reduce = "REDUCE_MAX", period = 60, above = true, threshold = local.oldest_unacked, duration = 300
      }]
    }
    nobody_leads = {
      title    = "nobody leads the fleet"
      severity = "CRITICAL"
      means    = "Facts are un-acked for more than a minute: no worker leads, so nothing is decided. A change of the lead takes 20 s at most."
      conditions = [{
        filter = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND ${local.of_facts}"
        align  = "ALIGN_MAX", reduce = "REDUCE_MAX", period = 60, above = true, threshold = 60, duration = 300
      }]
    }
    workers_silent = {
      title    = "no worker says anything"
      severity = "CRITICAL"
      means    = "No worker has written a status line for 10 minutes: none runs, or its log does not come to Cloud Logging."
      conditions = [{
        filter = "metric.type=\"${local.metric.status_lines}\" AND ${local.of_workers}"
        align  = "ALIGN_DELTA", reduce = "REDUCE_SUM", period = 60, absent = true, duration = 600
      }]
    }
    dead_letters = {
      title    = "dead letters"
      severity = "WARNING"
      means    = "Payloads that nobody could read, or spans and records that a backend will never take, are on the dead-letter topic."
      conditions = [
        {
          filter = "metric.type=\"${local.metric.dead_letters}\" AND ${local.of_workers}"
          align  = "ALIGN_DELTA", reduce = "REDUCE_SUM", period = 300, above = true, threshold = 0, duration = 0
        },
        {
          # By Pub/Sub itself, after max_delivery_attempts: a payload that no worker could finish.
          filter = "metric.type=\"pubsub.googleapis.com/subscription/dead_letter_message_count\" AND ${local.of_payloads}"
          align  = "ALIGN_DELTA", reduce = "REDUCE_SUM", period = 300, above = true, threshold = 0, duration = 0
        },
      ]
    }
    export_failing = {
      title    = "exports fail"
      severity = "ERROR"
      means    = "A backend has confirmed nothing for 10 minutes, or refuses the credentials or the path. Data waits in Pub/Sub; what an exporter that is not required loses is lost to it."
      conditions = [
        {
          filter = "metric.type=\"${local.metric.exporters_failing}\" AND ${local.of_workers}"
          align  = "ALIGN_DELTA", reduce = "REDUCE_MEAN", period = 300, above = true, threshold = var.alert_exporters_failing, duration = 600
        },
        {
          filter = "metric.type=\"${local.metric.export_refused}\" AND ${local.of_workers}"
          align  = "ALIGN_DELTA", reduce = "REDUCE_SUM", period = 300, above = true, threshold = 0, duration = 0
        },
        {
          filter = "metric.type=\"${local.metric.export_lost}\" AND ${local.of_workers}"
          align  = "ALIGN_DELTA", reduce = "REDUCE_MEAN", period = 300, above = true, threshold = 0, duration = 0
        },
      ]
    }
    kept_share = {
      title    = "the kept share is off its norm"
      severity = "WARNING"
      means    = "For half an hour more or fewer traces were kept than alert_kept_share says: apps send other traces, a policy fails, or somebody changed the policies."
      conditions = [for c in [
        {
          filter = "metric.type=\"${local.metric.kept_share}\" AND ${local.of_workers}"
          align  = "ALIGN_DELTA", reduce = "REDUCE_MEAN", period = 600, above = true, threshold = try(var.alert_kept_share.max, 1), duration = 1800
        },
        {
          filter = "metric.type=\"${local.metric.kept_share}\" AND ${local.of_workers}"
          align  = "ALIGN_DELTA", reduce = "REDUCE_MEAN", period = 600, above = false, threshold = try(var.alert_kept_share.min, 0), duration = 1800
        },
      ] : c if var.alert_kept_share != null]
    }
    no_traffic = {
      title    = "nobody sends anything"
      severity = "WARNING"
      means    = "Nothing was published on the payload topic: apps do not reach the ingest, or the ingest does not reach Pub/Sub."
      conditions = [for c in [
        {
          filter = "metric.type=\"pubsub.googleapis.com/topic/send_message_operation_count\" AND ${local.of_payload_topic}"
          align  = "ALIGN_RATE", reduce = "REDUCE_SUM", period = 300, absent = true, duration = coalesce(var.alert_no_traffic_seconds, 900)
        },
        {
          # The series may go on with zeros.
          filter = "metric.type=\"pubsub.googleapis.com/topic/send_message_operation_count\" AND ${local.of_payload_topic}"
          align  = "ALIGN_RATE", reduce = "REDUCE_SUM", period = 300, above = false, threshold = 0.001, duration = coalesce(var.alert_no_traffic_seconds, 900)
        },
      ] : c if var.alert_no_traffic_seconds != null]
    }
    anomalies = {
      title    = "the fleet's log broke a promise"
      severity = "ERROR"
      means    = "The log was not what Pub/Sub promises. The workers read it again; traces may have been decided twice."
      conditions = [{
        filter = "metric.type=\"${local.metric.anomalies}\" AND ${local.of_workers}"
        align  = "ALIGN_DELTA", reduce = "REDUCE_MEAN", period = 300, above = true, threshold = 0, duration = 0
      }]
    }
    fenced = {
      title    = "workers fence themselves"
      severity = "WARNING"
      means    = "Workers gave back all that they held, again and again, since they had no proof that the log lives: Pub/Sub is slow, or they have no CPU."
      conditions = [{
        filter = "metric.type=\"${local.metric.fences}\" AND ${local.of_workers}"
        align  = "ALIGN_DELTA", reduce = "REDUCE_MEAN", period = 300, above = true, threshold = 0, duration = 900
      }]
    }
    hold_full = {
      title    = "the workers' holds are full"
      severity = "WARNING"
      means    = "Memory is used up to ${var.alert_hold_share * 100} %. At 80 % the newest messages go back, and CPU is spent on what comes again."
      conditions = [{
        filter = "metric.type=\"${local.metric.hold_share}\" AND ${local.of_workers}"
        align  = "ALIGN_DELTA", reduce = "REDUCE_MEAN", period = 300, above = true, threshold = var.alert_hold_share, duration = 900
      }]
    }
    decisions_late = {
      title    = "decisions are late"
      severity = "WARNING"
      means    = "Event time is more than ${var.alert_window_lag_seconds} s behind the newest payload: a worker is slow, or Pub/Sub delivers late."
      conditions = [{
        filter = "metric.type=\"${local.metric.window_lag_seconds}\" AND ${local.of_workers}"
        align  = "ALIGN_DELTA", reduce = "REDUCE_MEAN", period = 300, above = true, threshold = var.alert_window_lag_seconds, duration = 600
      }]
    }
    policies_differ = {
      title    = "workers have different policies"
      severity = "WARNING"
      means    = "For half an hour some worker is configured with other policies than the fleet's: a deploy stopped halfway, and the old policies decide."
      conditions = [{
        filter = "metric.type=\"${local.metric.policy_pending}\" AND ${local.of_workers}"
        align  = "ALIGN_DELTA", reduce = "REDUCE_MEAN", period = 300, above = true, threshold = 0, duration = 1800
      }]
    }
  }
}

resource "google_monitoring_alert_policy" "alert" {
  for_each     = var.monitoring ? local.watched : {}
  project      = var.project_id
  display_name = "${var.name}: ${each.value.title}"
  severity     = each.value.severity
  combiner     = "OR"
  enabled      = true

  notification_channels = var.notification_channels

  dynamic "conditions" {
    for_each = { for i, c in each.value.conditions : tostring(i) => c }
    content {
      display_name = "${each.value.title} (${conditions.key + 1})"

      dynamic "condition_threshold" {
        for_each = try(conditions.value.absent, false) ? [] : [conditions.value]
        content {
          filter          = condition_threshold.value.filter
          comparison      = condition_threshold.value.above ? "COMPARISON_GT" : "COMPARISON_LT"
          threshold_value = condition_threshold.value.threshold
          duration        = "${condition_threshold.value.duration}s"
          # Where nothing is counted nothing is wrong: no lines means workers_silent, which has an alert of its own.
          evaluation_missing_data = condition_threshold.value.duration == 0 ? null : "EVALUATION_MISSING_DATA_INACTIVE"
          aggregations {
            alignment_period     = "${condition_threshold.value.period}s"
            per_series_aligner   = condition_threshold.value.align
            cross_series_reducer = condition_threshold.value.reduce
          }
          trigger {
            count = 1
          }
        }
      }

      dynamic "condition_absent" {
        for_each = try(conditions.value.absent, false) ? [conditions.value] : []
        content {
          filter   = condition_absent.value.filter
          duration = "${condition_absent.value.duration}s"
          aggregations {
            alignment_period     = "${condition_absent.value.period}s"
            per_series_aligner   = condition_absent.value.align
            cross_series_reducer = condition_absent.value.reduce
          }
          trigger {
            count = 1
          }
        }
      }
    }
  }

  alert_strategy {
    auto_close = "3600s"
  }

  documentation {
    subject   = "${var.name}: ${each.value.title}"
    mime_type = "text/markdown"
    content   = "${each.value.means}\n\nWhat to do: ${local.runbook[each.key]}"
  }

  # A policy on a metric that is not there yet is refused.
  depends_on = [google_project_service.monitoring, google_logging_metric.status, google_logging_metric.event]
}

locals {
  # Without workers of this module there are no lines to count.
  watched = { for key, a in {
    for key, a in local.alerts : key => merge(a, { conditions = [for c in a.conditions : c if local.has_workers || !strcontains(c.filter, "logging.googleapis.com/user/")] })
  } : key => a if length(a.conditions) > 0 }

  # The heading of an alert in docs/operations.md is its key with hyphens.
  runbook = { for key in keys(local.alerts) : key =>
    var.runbook_url == null ? "docs/operations.md#${replace(key, "_", "-")}" : "[docs/operations.md](${var.runbook_url}#${replace(key, "_", "-")})"
  }
}
