// Package gcp is what the exporters to Google Cloud share: which project an item goes to, how old it may be, how the APIs
// are reached and with whose credentials.
package gcp
