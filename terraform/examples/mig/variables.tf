variable "project_id" {
  description = "Google Cloud project. Example: \"my-observability\""
  type        = string
  nullable    = false
}

variable "project_number" {
  description = "Its number: gcloud projects describe PROJECT --format='value(projectNumber)'. Example: \"123456789012\""
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region of everything. Example: \"europe-west1\""
  type        = string
  nullable    = false
}

variable "image" {
  description = "The image with all commands, with a tag. Example: \"europe-west1-docker.pkg.dev/my-observability/tailweir/tailweir:v1\""
  type        = string
  nullable    = false
}

variable "mig_max_instances" {
  description = "Workers at most; two are always there. Example: 10"
  type        = number
  default     = 10
  nullable    = false
  validation {
    condition     = var.mig_max_instances >= 3
    error_message = "mig_max_instances must be 3 at least: with 2 there would be nothing to scale."
  }
}
