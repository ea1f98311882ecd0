# Tailweir on Cloud Run: the ingest as a service, the workers as a worker pool, and a network for the apps that call the ingest.
terraform {
  required_version = ">= 1.11.0"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50.0, < 8.0.0"
    }
  }
}

provider "google" {
  project = var.project_id
  region  = var.region
}

module "tailweir" {
  source = "../../modules/tailweir"

  project_id       = var.project_id
  project_number   = var.project_number
  region           = var.region
  image            = var.image
  worker_instances = var.worker_instances

  config         = file("${path.module}/worker.yaml")
  create_network = true
}
