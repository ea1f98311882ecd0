package gcp

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"cloud.google.com/go/auth"

	"tailweir/otlp"
)

// ProjectAttribute is the resource attribute that names the project of what is under the resource. Google's Telemetry API
// reads it, and the exporters write it there.
const ProjectAttribute = "gcp.project_id"

// projectAttributes may name the project on a resource, the first that is there first: Google's documented name, and that
// of its older exporters.
var projectAttributes = [...]string{ProjectAttribute, "gcp.project.id"}

// Routes says which project an item goes to: that of the first route that matches, else the one that the resource names
// by gcp.project_id or gcp.project.id, else Project. Safe for concurrent use while nobody changes it.
type Routes struct {
	Project string // default: that of the credentials, see Complete
	Routes  []Route
}

// Route sends what has the attribute with the value to a project. The resource's attribute counts; the item's own does
// where the resource has none with the key.
type Route struct {
	Attribute string
	Value     string // compared with the attribute's value as text: "true", "7", strings as they are; case counts
	Project   string
}

// Complete sets Project, where it is empty, to the project of the credentials: of a service account's file, or of
// the machine the process runs on.
func (r *Routes) Complete(ctx context.Context, creds *auth.Credentials) error {
	if r.Project != "" {
		return nil
	}
	if creds == nil {
		return errors.New("project: without credentials it has to be set")
	}
	id, err := creds.ProjectID(ctx)
	if err != nil {
		return fmt.Errorf("project of the credentials: %w", err)
	}
	if id == "" {
		return errors.New("project: the credentials name none, it has to be set")
	}
	r.Project = id
	return nil
}

// Validate reports all faults at once. An empty Project is none, see Complete.
func (r *Routes) Validate() error {
	var errs []error
	if r.Project != "" && !ValidProject(r.Project) {
		errs = append(errs, fmt.Errorf("project %q: %s", r.Project, projectSyntax))
	}
	for i, route := range r.Routes {
		if route.Attribute == "" {
			errs = append(errs, fmt.Errorf("routes[%d]: attribute is missing", i))
		}
		if route.Value == "" {
			errs = append(errs, fmt.Errorf("routes[%d]: value is missing", i))
		}
		if !ValidProject(route.Project) {
			errs = append(errs, fmt.Errorf("routes[%d] project %q: %s", i, route.Project, projectSyntax))
		}
	}
	return errors.Join(errs...)
}

const projectSyntax = "want a project id, 6 to 30 lowercase letters, digits and hyphens that begin with a letter and end without hyphen"

// projectID knows ids as they are given out, and those of old domain-scoped projects ("example.com:my-project").
var projectID = regexp.MustCompile(`^([a-z0-9][a-z0-9.-]{0,62}\.[a-z]{2,}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$`)

// ValidProject tells whether s has the form of a project id. A number is none: the APIs that take both answer with the id, and
// one project under two names would be two destinations.
func ValidProject(s string) bool { return projectID.MatchString(s) }

// Named tells whether the settings name the project. What no setting names was named by an app: that it cannot be written
// to is about that app's data, not about the exporter's setup.
func (r *Routes) Named(project string) bool {
	if project == r.Project {
		return true
	}
	for i := range r.Routes {
		if r.Routes[i].Project == project {
			return true
		}
	}
	return false
}

// Span returns the project of the span. For many of one payload see For.
func (r *Routes) Span(s otlp.Span) string { return r.ofResource(s.Resource()).of(r, s) }

// Record returns the project of the log record. For many of one payload see For.
func (r *Routes) Record(rec otlp.Record) string { return r.ofResource(rec.Resource()).of(r, rec) }

// Chooser chooses for the items of one payload. What depends on the resource alone is found once for each. It serves one
// goroutine.
type Chooser struct {
	routes  *Routes
	payload *otlp.Payload
	choices []choice // by resource
}

// For returns a chooser for the payload, which must not be scanned again while it is used.
func (r *Routes) For(p *otlp.Payload) *Chooser {
	return &Chooser{routes: r, payload: p, choices: make([]choice, p.Resources())}
}

// Project returns the project of item i, a span, a log record or a metric, 0 <= i < Payload.Len.
func (c *Chooser) Project(i int32) string {
	s := c.payload.Span(i) // where a record lies is said alike
	switch at := c.choice(s.ResourceIndex()); {
	case len(at.open) == 0, c.payload.Signal() == otlp.Metrics: // a metric has no attributes, its points have
		return at.project
	case c.payload.Signal() == otlp.Logs:
		return at.of(c.routes, c.payload.Record(i))
	default:
		return at.of(c.routes, s)
	}
}

func (c *Chooser) choice(resource int32) *choice {
	at := &c.choices[resource]
	if at.project == "" {
		*at = c.routes.ofResource(c.payload.Resource(resource))
	}
	return at
}

// choice is what a resource settles: the project, unless one of the routes in open, which ask for attributes that the
// resource does not have, matches the item itself.
type choice struct {
	open    []int // indexes of Routes.Routes
	project string
}

func (r *Routes) ofResource(res otlp.Resource) (c choice) {
	for i := range r.Routes {
		route := &r.Routes[i]
		v, ok := res.Attribute(route.Attribute)
		if !ok {
			c.open = append(c.open, i)
		} else if route.matches(v) {
			c.project = route.Project
			return c
		}
	}
	for _, key := range projectAttributes {
		if v, ok := res.Attribute(key); ok && ValidProject(string(v.Str())) {
			c.project = string(v.Str())
			return c
		}
	}
	c.project = r.Project
	return c
}

func (c choice) of(r *Routes, item interface {
	Attribute(string) (otlp.Value, bool)
}) string {
	for _, i := range c.open {
		route := &r.Routes[i]
		if v, ok := item.Attribute(route.Attribute); ok && route.matches(v) {
			return route.Project
		}
	}
	return c.project
}

func (r *Route) matches(v otlp.Value) bool {
	if v.Kind() == otlp.String {
		return string(v.Str()) == r.Value
	}
	return v.String() == r.Value
}
