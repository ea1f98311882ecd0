terraform {
  # 1.9: a validation may look at other variables. 1.11: write-only attributes, which keep the workers' file out of the state.
  required_version = ">= 1.11.0"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50.0, < 8.0.0"
    }
  }
}
