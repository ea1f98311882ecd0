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

variable "worker_instances" {
  description = "Workers: two at least, so that one may go. Example: 4"
  type        = number
  default     = 2
  nullable    = false
  validation {
    condition     = var.worker_instances >= 2
    error_message = "worker_instances must be 2 at least: with one, decisions wait whenever it is replaced."
  }
}
