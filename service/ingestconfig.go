package service

import (
	"fmt"
	"time"

	"tailweir/otlp"
	"tailweir/receiver"
	"tailweir/strictyaml"
)

// CORSConfig says which web pages may send from a browser.
type CORSConfig struct {
	AllowedOrigins []string      `yaml:"allowed_origins"`
	AllowedHeaders []string      `yaml:"allowed_headers"`
	MaxAge         time.Duration `yaml:"max_age"`
}

// Validate says what is wrong with an origin or a header.
func (c CORSConfig) Validate() error { return c.receiver().Validate() }

func (c CORSConfig) receiver() receiver.CORS {
	return receiver.CORS{AllowedOrigins: c.AllowedOrigins, AllowedHeaders: c.AllowedHeaders, MaxAge: c.MaxAge}
}

// LimitsConfig bounds what a request may hold.
type LimitsConfig struct {
	Attributes int             `yaml:"attributes"`
	Events     int             `yaml:"events"`
	Links      int             `yaml:"links"`
	Depth      int             `yaml:"depth"`
	Key        strictyaml.Size `yaml:"key"`
	Name       strictyaml.Size `yaml:"name"`
	Items      int             `yaml:"items"`
}

func defaultLimits() LimitsConfig {
	return LimitsConfig{Attributes: 4096, Events: 10_000, Links: 10_000, Depth: 30, Key: 4 << 10, Name: 64 << 10, Items: 500_000}
}

// check reports the values that cannot work.
func (c *IngestConfig) check(d *strictyaml.Decoder) {
	within(d, "ingest.max_connections", c.MaxConnections, 1, 1_000_000)
	for i, origin := range c.CORS.AllowedOrigins {
		if err := (CORSConfig{AllowedOrigins: []string{origin}}).Validate(); err != nil {
			d.Faultf(fmt.Sprintf("ingest.cors.allowed_origins[%d]", i), "%v", err)
		}
	}
	if err := (CORSConfig{AllowedOrigins: []string{"*"}, AllowedHeaders: c.CORS.AllowedHeaders}).Validate(); err != nil {
		d.Faultf("ingest.cors.allowed_headers", "%v", err)
	}
	within(d, "ingest.cors.max_age", c.CORS.MaxAge, time.Second, 24*time.Hour)
	const most = 1 << 30
	within(d, "ingest.limits.attributes", c.Limits.Attributes, 1, most)
	within(d, "ingest.limits.events", c.Limits.Events, 1, most)
	within(d, "ingest.limits.links", c.Limits.Links, 1, most)
	within(d, "ingest.limits.depth", c.Limits.Depth, 1, 10_000)
	within(d, "ingest.limits.key", c.Limits.Key, 1, most)
	within(d, "ingest.limits.name", c.Limits.Name, 1, most)
	within(d, "ingest.limits.items", c.Limits.Items, 1, 1<<21)
}

// apply puts into rc what only the receiver knows the use of.
func (c *IngestConfig) apply(rc *receiver.Config) {
	rc.MaxConnections, rc.Reflection = c.MaxConnections, c.Reflection
	rc.CORS = c.CORS.receiver()
	l := c.Limits
	rc.Limits = receiver.Limits{Items: l.Items, Bounds: otlp.Bounds{
		Attributes: l.Attributes, Events: l.Events, Links: l.Links, Depth: l.Depth, Key: int(l.Key), Name: int(l.Name),
	}}
}
