# --- Autoscaling of the worker pool by CREMA, Google's external metrics autoscaler

variable "worker_autoscaling" {
  description = "Cloud Run's external metrics autoscaler sets the number of workers in the pool, from min to max, by the rate of publishing: one for each messages_per_second, which is null for the formula of docs/scaling.md. worker_instances has no effect then. null: no autoscaler. Read docs/terraform.md before you switch an existing pool. Example: { min = 2, max = 20 }"
  type = object({
    min                 = number
    max                 = number
    messages_per_second = optional(number)
  })
  default = null
  validation {
    condition     = var.worker_autoscaling == null ? true : var.worker_autoscaling.min >= 1 && var.worker_autoscaling.min <= var.worker_autoscaling.max && var.worker_autoscaling.max <= 100 && floor(var.worker_autoscaling.min) == var.worker_autoscaling.min && floor(var.worker_autoscaling.max) == var.worker_autoscaling.max
    error_message = "worker_autoscaling: min and max must be whole numbers from 1 to 100, min not above max. With 0 nobody would decide, however little comes."
  }
  validation {
    condition     = try(var.worker_autoscaling.messages_per_second, null) == null ? true : var.worker_autoscaling.messages_per_second >= 10 && var.worker_autoscaling.messages_per_second <= 100000
    error_message = "worker_autoscaling: messages_per_second must be what one worker is good for, from 10 to 100000; docs/scaling.md has the formula."
  }
  validation {
    condition     = var.worker_autoscaling == null || var.worker_platform == "worker_pool"
    error_message = "worker_autoscaling is for worker_platform \"worker_pool\": a managed instance group has an autoscaler of its own."
  }
}

variable "worker_autoscaler_image" {
  description = "The autoscaler's image: Google's own by default. Example: \"europe-west1-docker.pkg.dev/my-observability/tailweir/crema:v1\""
  type        = string
  default     = "us-central1-docker.pkg.dev/cloud-run-oss-images/crema-v1/autoscaler:1.0"
  nullable    = false
  validation {
    condition     = can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+(:[0-9]+)?/[a-z0-9._/-]+(:[A-Za-z0-9_][A-Za-z0-9._-]*|@sha256:[0-9a-f]{64})$", var.worker_autoscaler_image)) && !endswith(var.worker_autoscaler_image, ":latest")
    error_message = "worker_autoscaler_image must be HOST/PATH with a tag other than latest, or a digest."
  }
}

variable "worker_autoscaler_base_image" {
  description = "What Cloud Run puts below the autoscaler's image, which has no system of its own; null for an image that has one. Example: \"europe-west1-docker.pkg.dev/serverless-runtimes/google-24/runtimes/java25\""
  type        = string
  default     = "us-central1-docker.pkg.dev/serverless-runtimes/google-24/runtimes/java25"
  validation {
    condition     = var.worker_autoscaler_base_image == null ? true : can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+/[a-z0-9._/-]+$", var.worker_autoscaler_base_image))
    error_message = "worker_autoscaler_base_image must be HOST/PATH without a tag, as gcloud's --base-image, or null."
  }
}
