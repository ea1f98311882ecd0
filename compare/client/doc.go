// Package client sends to the ingest's receiver with the collector's own exporters, otlp_http and otlp_grpc v0.161.0, configured as
// docs/collector.md says, and holds that page's table to what they do. It has tests only.
package client
