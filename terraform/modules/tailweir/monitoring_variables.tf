# --- Monitoring: metrics made of the workers' log, alerts, a dashboard

variable "monitoring" {
  description = "Make log-based metrics, alert policies and the dashboard. Example: false, where others watch"
  type        = bool
  default     = true
  nullable    = false
}

variable "notification_channels" {
  description = "Who is told of alerts. Without any, incidents are only listed in Cloud Monitoring. Example: [\"projects/my-observability/notificationChannels/1234567890\"]"
  type        = list(string)
  default     = []
  nullable    = false
  validation {
    condition     = alltrue([for c in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[0-9]+$", c))])
    error_message = "notification_channels must be names as Cloud Monitoring gives them: projects/P/notificationChannels/NUMBER."
  }
  validation {
    condition     = length(var.notification_channels) == length(distinct(var.notification_channels)) && length(var.notification_channels) <= 16
    error_message = "notification_channels must be at most 16, each once."
  }
}

variable "runbook_url" {
  description = "Where your people read docs/operations.md; each alert links to its heading there. null: alerts name the file. Example: \"https://git.example.com/sre/tailweir/blob/main/docs/operations.md\""
  type        = string
  default     = null
  validation {
    condition     = var.runbook_url == null ? true : can(regex("^https://[^\\s#]+$", var.runbook_url))
    error_message = "runbook_url must be a https URL without a fragment: the heading is appended."
  }
}

variable "alert_oldest_unacked_seconds" {
  description = "Alert when a payload is un-acked for longer. Some are always held: null is window.max_age of config and 5 minutes. Example: 900"
  type        = number
  default     = null
  validation {
    condition     = var.alert_oldest_unacked_seconds == null ? true : var.alert_oldest_unacked_seconds >= 120 && var.alert_oldest_unacked_seconds <= 86400 && floor(var.alert_oldest_unacked_seconds) == var.alert_oldest_unacked_seconds
    error_message = "alert_oldest_unacked_seconds must be a whole number from 120 to 86400: the metric itself is minutes late."
  }
}

variable "alert_hold_share" {
  description = "Alert when the workers' holds are fuller than this on average for 15 minutes; at 0.8 they hand messages back. Example: 0.6"
  type        = number
  default     = 0.75
  nullable    = false
  validation {
    condition     = var.alert_hold_share > 0 && var.alert_hold_share <= 0.8
    error_message = "alert_hold_share must be above 0 and at most 0.8: at 0.8 of hold.max_bytes the newest messages go back, so it is never much more."
  }
}

variable "alert_kept_share" {
  description = "The norm: alert when the share of traces that are kept is outside of it for half an hour. null: no such alert. Example: { min = 0.02, max = 0.2 }"
  type = object({
    min = number
    max = number
  })
  default = { min = 0.005, max = 0.5 }
  validation {
    condition     = var.alert_kept_share == null ? true : var.alert_kept_share.min >= 0 && var.alert_kept_share.min < var.alert_kept_share.max && var.alert_kept_share.max <= 1
    error_message = "alert_kept_share must be shares from 0 to 1, min below max."
  }
}

variable "alert_exporters_failing" {
  description = "Alert when this many exporters per worker are failing on average for 10 minutes. A backend that fails now and then is no incident: nothing is lost. Example: 0.9"
  type        = number
  default     = 0.5
  nullable    = false
  validation {
    condition     = var.alert_exporters_failing > 0 && var.alert_exporters_failing < 10
    error_message = "alert_exporters_failing must be above 0 and below 10."
  }
}

variable "alert_window_lag_seconds" {
  description = "Alert when event time is behind the newest payload by more for 10 minutes; window.slack, 3 s, is the least. Example: 120"
  type        = number
  default     = 60
  nullable    = false
  validation {
    condition     = var.alert_window_lag_seconds >= 10 && var.alert_window_lag_seconds <= 3600
    error_message = "alert_window_lag_seconds must be from 10 to 3600."
  }
}

variable "alert_no_traffic_seconds" {
  description = "Alert when nobody sent anything for so long. null: no such alert, where nights are silent. Example: 3600"
  type        = number
  default     = 900
  validation {
    condition     = var.alert_no_traffic_seconds == null ? true : var.alert_no_traffic_seconds >= 300 && var.alert_no_traffic_seconds <= 84600 && var.alert_no_traffic_seconds % 60 == 0
    error_message = "alert_no_traffic_seconds must be whole minutes in seconds, from 300 to 84600 (Cloud Monitoring looks back no further than 23 h 30 min)."
  }
}
