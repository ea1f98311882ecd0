// Package service joins the parts into the two processes, ingest and worker, and reads their configuration. The commands
// only choose what to run.
package service

import (
	"fmt"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"tailweir/buffer"
	"tailweir/sampler"
	"tailweir/strictyaml"
)

// Config is the configuration of a process: one YAML file, then the environment, which wins. Both processes read the same
// file; each uses its own sections. docs/settings.md has the table, which a test holds to this type.
type Config struct {
	Project   string           `yaml:"project"`
	Queue     QueueConfig      `yaml:"queue"`
	Ingest    IngestConfig     `yaml:"ingest"`
	Worker    WorkerConfig     `yaml:"worker"`
	Policies  *yaml.Node       `yaml:"policies"`
	Block     *yaml.Node       `yaml:"tail_sampling"`
	Compat    sampler.Compat   `yaml:"compat"`
	Window    WindowConfig     `yaml:"window"`
	Hold      HoldConfig       `yaml:"hold"`
	Traces    TracesConfig     `yaml:"traces"`
	Logs      LogsConfig       `yaml:"logs"`
	Exporters []ExporterConfig `yaml:"exporters"`
	Console   ConsoleConfig    `yaml:"console"`
	Shutdown  time.Duration    `yaml:"shutdown"`
	Fleet     FleetMode        `yaml:"fleet"`
	Timing    FleetTiming      `yaml:"fleet_timing"`

	// Emulator is host:port of an emulator or embedded broker instead of Google's Pub/Sub.
	Emulator string `yaml:"-"`
	// Compiled is the policies, compiled: those of the file, or the default ones.
	Compiled *sampler.Policies `yaml:"-"`
	// Warnings is what the file says that has no effect here or a surprising one, one line each with its place.
	Warnings []string `yaml:"-"`
}

// QueueConfig names the Pub/Sub objects.
type QueueConfig struct {
	Topic        string `yaml:"topic"`
	Subscription string `yaml:"subscription"`
	DeadLetters  string `yaml:"dead_letter_topic"`
	Facts        string `yaml:"facts_topic"`
	Sequencer    string `yaml:"facts_subscription"`
	Log          string `yaml:"log_topic"`
	LogPrefix    string `yaml:"log_prefix"` // of the workers' own subscriptions on the log; the worker's name follows
}

// IngestConfig is what the ingest takes in.
type IngestConfig struct {
	Listen         []string        `yaml:"listen"`
	MaxBody        strictyaml.Size `yaml:"max_body"`
	MaxInflated    strictyaml.Size `yaml:"max_inflated"`
	MaxRequests    int             `yaml:"max_requests"`
	MaxInFlight    strictyaml.Size `yaml:"max_bytes_in_flight"`
	PublishTimeout time.Duration   `yaml:"publish_timeout"`
	Auth           AuthConfig      `yaml:"auth"`
	Admin          string          `yaml:"admin"`
	MaxConnections int             `yaml:"max_connections"`
	Limits         LimitsConfig    `yaml:"limits"`
	CORS           CORSConfig      `yaml:"cors"`
	Reflection     bool            `yaml:"reflection"`
}

// WorkerConfig is what belongs to the worker's process alone.
type WorkerConfig struct {
	Admin string `yaml:"admin"`
}

// WindowConfig is when a trace is decided.
type WindowConfig struct {
	Settle     time.Duration   `yaml:"settle"`
	Idle       time.Duration   `yaml:"idle"`
	MaxAge     time.Duration   `yaml:"max_age"`
	MaxHold    time.Duration   `yaml:"max_hold"`
	Slack      time.Duration   `yaml:"slack"`
	StartDelay time.Duration   `yaml:"start_delay"`
	MaxTraces  int             `yaml:"max_traces"`
	MaxBytes   strictyaml.Size `yaml:"max_bytes"`
	History    int             `yaml:"history"`
}

// HoldConfig bounds what a worker holds un-acked.
type HoldConfig struct {
	MaxBytes strictyaml.Size `yaml:"max_bytes"`
	HandBack time.Duration   `yaml:"hand_back"`
	Lease    time.Duration   `yaml:"lease"`
}

// TracesConfig says how kept traces are written.
type TracesConfig struct {
	ClearUnseenParent bool `yaml:"clear_unseen_parent"`
}

// ConsoleConfig is where the worker's page is served.
type ConsoleConfig struct {
	Listen       string          `yaml:"listen"`
	AllowRemote  bool            `yaml:"allow_remote"`
	AllowedHosts []string        `yaml:"allowed_hosts"`
	MaxBytes     strictyaml.Size `yaml:"max_bytes"`
}

// Default returns the configuration of an empty file and environment: what the cloud needs.
func Default() Config {
	w := buffer.Config{}.Defaults()
	return Config{
		Queue: QueueConfig{
			Topic: "tailweir-payloads", Subscription: "tailweir-payloads-worker", DeadLetters: "tailweir-deadletters",
			Facts: "tailweir-facts", Sequencer: "tailweir-facts-sequencer", Log: "tailweir-log", LogPrefix: "tailweir-log-",
		},
		Ingest: IngestConfig{
			Listen: []string{":4318"}, MaxBody: 20_000_000, MaxInflated: 64 << 20,
			MaxRequests: 1000, MaxInFlight: 256 << 20, PublishTimeout: 8 * time.Second,
			MaxConnections: 10_000, Limits: defaultLimits(), CORS: CORSConfig{MaxAge: 2 * time.Hour},
			Auth: AuthConfig{Google: GoogleAuthConfig{Skew: time.Minute}},
		},
		Window: WindowConfig{
			Settle: w.Settle, Idle: w.Idle, MaxAge: w.MaxAge, Slack: 3 * time.Second, StartDelay: 12 * time.Second,
			MaxTraces: w.MaxTraces, MaxBytes: strictyaml.Size(w.MaxBytes), History: 1_000_000,
		},
		Hold:     HoldConfig{MaxBytes: 512 << 20, HandBack: 30 * time.Second, Lease: 10 * time.Second},
		Logs:     LogsConfig{Keep: "all", AlwaysAbove: "WARN", Wait: true, Orphans: "keep"},
		Console:  ConsoleConfig{Listen: "localhost:8080", MaxBytes: 64 << 20},
		Shutdown: 8 * time.Second,
		Fleet:    FleetPubSub,
		Timing:   defaultTiming(),
		Compiled: sampler.Default(),
	}
}

// Load reads the file that TAILWEIR_CONFIG names, if it is set, and the environment. All that is wrong with the file is
// in the error, one line each, with line and column.
func Load(getenv func(string) string) (Config, error) {
	cfg := Default()
	if file := getenv("TAILWEIR_CONFIG"); file != "" {
		src, err := os.ReadFile(file)
		if err != nil {
			return cfg, fmt.Errorf("TAILWEIR_CONFIG: %w", err)
		}
		if err := cfg.Parse(file, src); err != nil {
			return cfg, err
		}
	}
	set := func(name string, into *string) {
		if v := getenv(name); v != "" {
			*into = v
		}
	}
	set("GOOGLE_CLOUD_PROJECT", &cfg.Project)
	set("PUBSUB_EMULATOR_HOST", &cfg.Emulator)
	set("TAILWEIR_TOPIC", &cfg.Queue.Topic)
	set("TAILWEIR_SUBSCRIPTION", &cfg.Queue.Subscription)
	set("TAILWEIR_DEAD_LETTER_TOPIC", &cfg.Queue.DeadLetters)
	set("TAILWEIR_FACTS_TOPIC", &cfg.Queue.Facts)
	set("TAILWEIR_FACTS_SUBSCRIPTION", &cfg.Queue.Sequencer)
	set("TAILWEIR_LOG_TOPIC", &cfg.Queue.Log)
	set("TAILWEIR_LOG_PREFIX", &cfg.Queue.LogPrefix)
	set("TAILWEIR_CONSOLE", &cfg.Console.Listen)
	set("TAILWEIR_ADMIN", &cfg.Ingest.Admin)
	set("TAILWEIR_ADMIN", &cfg.Worker.Admin)
	set("TAILWEIR_KEYS", &cfg.Ingest.Auth.Keys)
	switch auth := getenv("TAILWEIR_AUTH"); auth {
	case "":
	case "none":
		cfg.Ingest.Auth.None = true
	default:
		return cfg, fmt.Errorf("TAILWEIR_AUTH is %q, want none or nothing: keys are TAILWEIR_KEYS=FILE, Google's tokens ingest.auth.google in the file of settings", auth)
	}
	if port := getenv("PORT"); port != "" {
		cfg.Ingest.Listen = []string{":" + port}
	}
	if cfg.Project == "" {
		return cfg, fmt.Errorf("project is not set: set GOOGLE_CLOUD_PROJECT, or project in the file that TAILWEIR_CONFIG names")
	}
	return cfg, nil
}

// Parse overlays the YAML document src on c and compiles its policies. The error is strictyaml.Faults.
func (c *Config) Parse(file string, src []byte) error {
	d := strictyaml.NewDecoder(file)
	if top := d.Document(src); top != nil {
		d.Decode(top, "", c)
	}
	section := sampler.Section{Policies: c.Policies, TailSampling: c.Block, Compat: c.Compat}
	if !section.Given() {
		if d.Has("compat") {
			d.Faultf("compat", "stands without policies: it says how those of a collector are read")
		}
		c.check(d)
		return d.Err()
	}
	compiled, err := section.Compile(file)
	if err == nil {
		c.Compiled = compiled
		c.adopt(d)
	}
	c.check(d)
	if err != nil {
		return joinFaults(d.Err(), err)
	}
	c.Warnings = append(compiled.Warnings(), d.Warnings()...)
	return d.Err()
}

// adopt has the window follow the options of the tail_sampling block.
func (c *Config) adopt(d *strictyaml.Decoder) {
	given := func(key string) bool { return d.Has("window." + key) }
	for _, line := range c.Window.Adopt(c.Compiled.Options(), "window.", given) {
		d.Warnf("tail_sampling", "%s", line)
	}
}

func joinFaults(first, second error) error {
	if first == nil {
		return second
	}
	return fmt.Errorf("%w\n%w", first, second)
}

// check reports the values that cannot work, each at its place in the file.
func (c *Config) check(d *strictyaml.Decoder) {
	for _, fault := range c.WindowConfig().Validate() {
		key, _, _ := strings.Cut(fault, " ")
		d.Faultf("window."+key, "%s", fault)
	}
	within(d, "window.slack", c.Window.Slack, time.Millisecond, 10*time.Minute)
	within(d, "window.start_delay", c.Window.StartDelay, 0, 11*time.Minute)
	within(d, "window.history", c.Window.History, 1, mostHistory)
	within(d, "hold.max_bytes", c.Hold.MaxBytes, 1<<20, 1<<40)
	within(d, "hold.hand_back", c.Hold.HandBack, time.Second, 10*time.Minute)
	within(d, "hold.lease", c.Hold.Lease, 10*time.Second, 10*time.Minute)
	if least := c.Hold.Lease + 2*time.Second; c.Window.StartDelay != 0 && c.Window.StartDelay < least {
		d.Faultf("window.start_delay", "%v is too short for the lease: want %v at least, hold.lease and 2s, so that the messages of a killed worker are back", c.Window.StartDelay, least)
	}
	c.Timing.check(d, c.Hold.Lease)
	c.Logs.check(d)
	within(d, "shutdown", c.Shutdown, 0, time.Hour)
	within(d, "ingest.max_body", c.Ingest.MaxBody, 1, 1<<30)
	within(d, "ingest.max_inflated", c.Ingest.MaxInflated, c.Ingest.MaxBody, 1<<30)
	within(d, "ingest.max_requests", c.Ingest.MaxRequests, 1, 1_000_000)
	within(d, "ingest.max_bytes_in_flight", c.Ingest.MaxInFlight, c.Ingest.MaxBody+3*c.Ingest.MaxInflated, 1<<40)
	within(d, "ingest.publish_timeout", c.Ingest.PublishTimeout, 100*time.Millisecond, time.Minute)
	c.Ingest.check(d)
	c.Ingest.Auth.check(d)
	within(d, "console.max_bytes", c.Console.MaxBytes, 1<<20, 1<<40)
	c.checkExporters(d)
}

func within[T time.Duration | strictyaml.Size | int](d *strictyaml.Decoder, path string, v, low, high T) {
	if v < low || v > high {
		d.Faultf(path, "%v is out of bounds, want %v to %v", v, low, high)
	}
}

// WindowConfig returns the settings of the window.
func (c *Config) WindowConfig() buffer.Config {
	return buffer.Config{
		Settle: c.Window.Settle, Idle: c.Window.Idle, MaxAge: c.Window.MaxAge, MaxHold: c.Window.MaxHold,
		MaxTraces: c.Window.MaxTraces, MaxBytes: int64(c.Window.MaxBytes),
	}
}
