package logging

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// row is one of the table of docs/exporters.md: a difference that is meant.
type row struct {
	name   string // the row's first cell
	covers func(d difference, p pair) bool
}

// rowOf is the name of the first row that covers the difference, "" for none.
func rowOf(d difference, p pair) string {
	for _, row := range rows {
		if row.covers(d, p) {
			return row.name
		}
	}
	return ""
}

// rows in the order of the table; the first that covers a difference counts.
var rows = slices.Concat(sentRows, resourceRows, fieldRows, labelRows, payloadRows)

// sentRows are where only one has sent the record.
var sentRows = []row{
	{"severity number out of range", unsent("unknown SeverityNumber")},
	{"attribute that cannot be read", unsent("could not process attribute gcp.source_location")},
	{"long text", func(d difference, p pair) bool {
		text := bodyOf(p).Str()
		return len(text) > 250_000 && utf8.ValidString(text) && unsent("invalid UTF-8")(d, p)
	}},
	{"text that is not UTF-8", unsent("invalid UTF-8")},
	{"too old or in the future", func(d difference, p pair) bool { return d.theirs == "yes" && strings.Contains(d.ours, "days in the") }},
}

func unsent(reason string) func(difference, pair) bool {
	return func(d difference, _ pair) bool {
		return d.path == "sent" && strings.Contains(d.theirs, reason) && d.ours == "yes"
	}
}

var resourceRows = []row{
	{"label `project_id` of the resource", func(d difference, p pair) bool {
		return d.path == "resource.labels[project_id]" && d.theirs == ""
	}},
	{"Cloud Run and functions", func(d difference, p pair) bool {
		return ofResource(d) && p.ours["resource.type"] == serverless(p) && (p.theirs["resource.type"] == "generic_task" || p.theirs["resource.type"] == "generic_node")
	}},
	{"App Engine", func(d difference, p pair) bool {
		return ofResource(d) && p.ours["resource.type"] == "gae_app" && (d.path == "resource.labels[zone]" || d.path == "resource.labels[location]")
	}},
	{"machines elsewhere", func(d difference, p pair) bool {
		return ofResource(d) && p.ours["resource.type"] == "generic_node" &&
			(p.theirs["resource.type"] == "aws_ec2_instance" || p.theirs["resource.type"] == "baremetalsolution.googleapis.com/Instance")
	}},
	{"service without an instance's id", func(d difference, p pair) bool {
		return ofResource(d) && p.theirs["resource.type"] == "generic_node" && p.ours["resource.type"] == "generic_task" && p.ours["resource.labels[job]"] == p.resource("service.name")
	}},
	{"resource that says nothing", func(d difference, p pair) bool {
		return ofResource(d) && p.ours["resource.type"] == "global" && p.resource("service.name") == "" && p.resource("host.id") == "" && p.resource("host.name") == ""
	}},
	{"`gcp.project_id`", func(d difference, p pair) bool {
		named := p.resource("gcp.project_id") != "" || p.resource("gcp.project.id") == ""
		return (d.path == "logName" || d.path == "trace") && named && projectOf(d.theirs) != projectOf(d.ours) && afterProject(d.theirs) == afterProject(d.ours)
	}},
}

func ofResource(d difference) bool { return strings.HasPrefix(d.path, "resource.") }

// serverless is the type of what Google runs.
func serverless(p pair) string {
	switch p.resource("cloud.platform") {
	case "gcp_cloud_functions":
		return "cloud_function"
	case "gcp_cloud_run":
		if p.resource("gcp.cloud_run.job.execution") != "" {
			return "cloud_run_job"
		}
		if p.resource("gcp.resource_type") != "" {
			return "cloud_run_worker_pool"
		}
		return "cloud_run_revision"
	}
	return ""
}

// projects/P/rest
func projectOf(name string) string    { return strings.Split(name, "/")[1] }
func afterProject(name string) string { return strings.SplitN(name, "/", 3)[2] }

var fieldRows = []row{
	{"`insertId`", func(d difference, p pair) bool { return d.path == "insertId" && d.theirs == "" && d.ours == "set" }},
	{"record without a time", func(d difference, p pair) bool { return d.path == "timestamp" && d.theirs == "now" && d.ours == "" }},
	{"severity of other names", func(d difference, p pair) bool {
		return d.path == "severity" && d.theirs == "DEFAULT" && otherNames[strings.ToLower(p.place().record.SeverityText())] == d.ours
	}},
	{"`traceSampled` is the decision", func(d difference, p pair) bool {
		return d.path == "traceSampled" && p.decision != undecided && d.ours == boolText(p.decision == kept)
	}},
	{"`gcp.trace_sampled` and the flag", func(d difference, p pair) bool {
		return d.path == "traceSampled" && p.attribute("gcp.trace_sampled") == "false" && d.ours == "false"
	}},
	{"no trace id", func(d difference, p pair) bool {
		return (d.path == "traceSampled" || d.path == "spanId") && p.place().record.TraceID().IsEmpty() && (d.ours == "" || d.ours == "false")
	}},
	{"log names", func(d difference, p pair) bool {
		return d.path == "logName" && afterProject(d.ours) == "logs/"+logName && !goodLogName.MatchString(p.str("gcp.log_name"))
	}},
	{"`httpRequest` of the semantic conventions", func(d difference, p pair) bool {
		return p.attribute("http.request.method") != "" && p.ours["httpRequest"] == "set" && (strings.HasPrefix(d.path, "httpRequest") || slices.Contains(httpLabels, d.path)) &&
			(d.theirs == "" || d.ours == "" || unreadable(p, "gcp.http_request"))
	}},
	{"latency of 0", func(d difference, p pair) bool {
		return d.path == "httpRequest.latency" && d.theirs == "" && d.ours == "0s"
	}},
	{"`sourceLocation` of the semantic conventions", func(d difference, p pair) bool {
		return p.ours["sourceLocation"] == "set" && (strings.HasPrefix(d.path, "sourceLocation") || slices.Contains(codeLabels, d.path))
	}},
	{"attribute of which a field cannot hold all", func(d difference, p pair) bool {
		for key, field := range map[string]string{"gcp.source_location": "sourceLocation", "gcp.http_request": "httpRequest", "gcp.operation": "operation"} {
			if unreadable(p, key) && (d.path == label(key) || strings.HasPrefix(d.path, field) && d.ours == "") {
				return true
			}
		}
		return false
	}},
}

var (
	otherNames = map[string]string{"information": "INFO", "severe": "ERROR", "fine": "DEBUG", "err": "ERROR", "panic": "EMERGENCY"}

	goodLogName = regexp.MustCompile(`^[A-Za-z0-9/_.-]{1,511}$`)
	httpLabels  = []string{"labels[http.request.method]", "labels[http.response.status_code]", "labels[url.full]", "labels[user_agent.original]"}
	codeLabels  = []string{"labels[code.file.path]", "labels[code.line.number]", "labels[code.function.name]",
		"labels[code.filepath]", "labels[code.lineno]", "labels[code.function]", "labels[code.namespace]"}
)

func label(key string) string { return "labels[" + key + "]" }

// unreadable tells whether ours has kept the attribute as a label.
func unreadable(p pair, key string) bool {
	return p.ours[label(key)] != "" || inMore(p, key)
}

func boolText(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

const section = "## Where cloudlogging differs from Google's collector exporter"

// TestRowsAreDocumented holds the table of the section to the rows, in their order.
func TestRowsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/exporters.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(doc), section)
	if !found {
		t.Fatalf("docs/exporters.md has no section %q", section)
	}
	table, _, _ = strings.Cut(table, "\n## ")
	var documented, want []string
	for _, cells := range regexp.MustCompile(`(?m)^\| (.+?) \|.+\|$`).FindAllStringSubmatch(table, -1) {
		documented = append(documented, cells[1])
	}
	for _, row := range rows {
		want = append(want, row.name)
	}
	if len(documented) == 0 || !slices.Equal(documented[1:], want) {
		t.Errorf("docs/exporters.md has the rows\n%s\nwant\n%s", strings.Join(documented, "\n"), strings.Join(want, "\n"))
	}
}
