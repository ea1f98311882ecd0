# Tailweir with its workers on virtual machines: a managed instance group that an autoscaler grows and shrinks. The ingest is on Cloud Run.
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

  project_id        = var.project_id
  project_number    = var.project_number
  region            = var.region
  image             = var.image
  worker_platform   = "mig"
  mig_max_instances = var.mig_max_instances

  config         = file("${path.module}/worker.yaml")
  create_network = true
}
