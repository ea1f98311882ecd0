// Package terraform_test checks the modules and examples: what terraform and checkov say of them, and what has to agree with the
// documentation and the commands. It has no product code.
package terraform_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tailweir/service"
)

const module = "modules/tailweir"

// folders are all that terraform can be run in.
func folders(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"modules/*", "examples/*"} {
		dirs, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, dirs...)
	}
	if len(all) < 3 {
		t.Fatalf("found %v only", all)
	}
	return all
}

// missing skips the test, and fails it in CI.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("needed in CI: %s", what)
	}
	t.Skip("skipped: " + what)
}

// checker is a program that runs terraform fmt, validate and test in the folders it is given, without a network.
func checker(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		missing(t, "terraform is not installed")
	}
	path := os.Getenv("TAILWEIR_TERRAFORM_CHECK")
	if path == "" {
		missing(t, "TAILWEIR_TERRAFORM_CHECK names no checker that works without a network; make terraform runs the same with the real provider")
	}
	if _, err := os.Stat(path); err != nil {
		missing(t, "TAILWEIR_TERRAFORM_CHECK: "+err.Error())
	}
	return path
}

// fmt, validate and test of every folder.
func TestTerraform(t *testing.T) {
	check := checker(t)
	for _, dir := range folders(t) {
		t.Run(dir, func(t *testing.T) {
			if tests, _ := filepath.Glob(filepath.Join(dir, "tests/*.tftest.hcl")); len(tests) == 0 {
				t.Error("no tests")
			}
			out, err := exec.Command(check, dir).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if !regexp.MustCompile(`Success! [1-9][0-9]* passed, 0 failed\.`).Match(out) {
				t.Errorf("no test has run:\n%s", out)
			}
			t.Log(lastLine(string(out)))
		})
	}
}

func lastLine(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1]
}

// finding is one line of checkov's report.
type finding struct {
	ID       string `json:"check_id"`
	Name     string `json:"check_name"`
	Resource string `json:"resource"`
	File     string `json:"file_path"`
	Result   struct {
		Reason string `json:"suppress_comment"`
	} `json:"check_result"`
}

type findings struct {
	Passed  []finding `json:"passed_checks"`
	Failed  []finding `json:"failed_checks"`
	Skipped []finding `json:"skipped_checks"`
	Unread  []string  `json:"parsing_errors"`
}

func checkov(t *testing.T, args ...string) findings {
	t.Helper()
	path, err := exec.LookPath("checkov")
	if err != nil {
		missing(t, "checkov is not installed: pip install checkov")
	}
	cmd := exec.Command(path, append(args, "--output", "json", "--skip-download")...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) { // its status says whether there are findings
		t.Fatal(err)
	}
	var report struct {
		Results findings `json:"results"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
	}
	for _, f := range report.Results.Unread {
		t.Errorf("checkov could not read %s, so nothing in it was checked", f)
	}
	if len(report.Results.Passed) < 20 {
		t.Errorf("only %d checks passed: did it see the resources?", len(report.Results.Passed))
	}
	return report.Results
}

// checkov over every folder. Whoever makes an exception says why, beside the resource.
func TestCheckov(t *testing.T) {
	for _, dir := range folders(t) {
		t.Run(dir, func(t *testing.T) {
			found := checkov(t, "--directory", dir, "--framework", "terraform")
			for _, f := range found.Failed {
				t.Errorf("%s %s: %s (%s)", f.ID, f.Name, f.Resource, f.File)
			}
			for _, f := range found.Skipped {
				if len(strings.Fields(f.Result.Reason)) < 5 {
					t.Errorf("%s is skipped for %s without a reason: %q", f.ID, f.Resource, f.Result.Reason)
				}
			}
		})
	}
}

// planned are the exceptions of the examples' plans, where comments beside a resource are not seen. A plan says more than the source:
// which of the optional things are there.
var planned = map[string]string{
	"CKV_GCP_83":  "topics: Google's keys encrypt them; kms_key_name is for those who must have their own, and who pay and care for it",
	"CKV_GCP_84":  "registry: the same",
	"CKV_GCP_26":  "flow logs: see network.tf",
	"CKV2_GCP_18": "firewall: see network.tf",
}

// checkov over what the examples would make, with the values of their terraform.tfvars.example.
func TestCheckovOfPlans(t *testing.T) {
	examples, err := filepath.Glob("examples/*")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, dir := range examples {
		file := filepath.Join(t.TempDir(), "plan.json")
		write(t, file, plan(t, dir))
		for _, f := range checkov(t, "--file", file, "--framework", "terraform_plan").Failed {
			used[f.ID] = true
			if planned[f.ID] == "" {
				t.Errorf("%s: %s %s: %s", dir, f.ID, f.Name, f.Resource)
			}
		}
	}
	for id := range planned {
		if !used[id] {
			t.Errorf("%s is an exception that nothing needs", id)
		}
	}
}

// offline is where the checker's settings of terraform are, by which terraform itself works with the stub and without a network.
func offline(t *testing.T) string {
	t.Helper()
	check := checker(t)
	// The checker leaves them also when it has nothing to check.
	if out, err := exec.Command(check, t.TempDir()).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	settings := filepath.Join(filepath.Dir(check), "build", "offline.tfrc") // a checker with a place of its own
	if _, err := os.Stat(settings); err != nil {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		settings = filepath.Join(cache, "terraform-check", "offline.tfrc")
		if _, err := os.Stat(settings); err != nil {
			missing(t, err.Error())
		}
	}
	return settings
}

// terraform is the command in a folder, which keeps its own things in data.
func terraform(settings, dir, data string, args ...string) *exec.Cmd {
	cmd := exec.Command("terraform", append([]string{"-chdir=" + dir}, args...)...)
	cmd.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+settings, "TF_DATA_DIR="+data, "CHECKPOINT_DISABLE=1")
	return cmd
}

// plan is the plan of a folder as JSON, with the values of its terraform.tfvars.example, made with the checker's stub of the provider:
// Google's own would ask for credentials.
func plan(t *testing.T, dir string) string {
	t.Helper()
	settings, work := offline(t), t.TempDir()
	run := func(args ...string) string {
		cmd := terraform(settings, dir, filepath.Join(work, "data"), args...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("terraform %v: %v\n%s", args, err, stderr.String())
		}
		return string(out)
	}
	file := filepath.Join(work, "plan")
	run("get")
	run("plan", "-input=false", "-no-color", "-var-file=terraform.tfvars.example", "-state="+filepath.Join(work, "state"), "-out="+file)
	return run("show", "-json", file)
}

// Each variable says what it is, has an example, and refuses what only Google's API would refuse otherwise; each of its validations has a
// value in the tests that it refuses.
func TestVariables(t *testing.T) {
	refused := map[string]int{}
	tests, err := filepath.Glob(module + "/tests/*.tftest.hcl")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range tests {
		for _, m := range regexp.MustCompile(`expect_failures\s*=\s*\[var\.(\w+)\]`).FindAllStringSubmatch(read(t, file), -1) {
			refused[m[1]]++
		}
	}
	for _, v := range variables(t, module) {
		if _, _, ok := strings.Cut(v.description, "Example: "); !ok {
			t.Errorf("%s: its description has no example: %q", v.name, v.description)
		}
		if v.typ == "" || v.typ == "any" {
			t.Errorf("%s has no type", v.name)
		}
		if v.validations == 0 && v.typ != "bool" {
			t.Errorf("%s has no validation", v.name)
		}
		if refused[v.name] < v.validations {
			t.Errorf("%s has %d validations, and the tests try %d bad values", v.name, v.validations, refused[v.name])
		}
	}
	for _, dir := range folders(t) {
		for _, v := range variables(t, dir) {
			if !strings.Contains(v.description, "Example: ") || v.typ == "" {
				t.Errorf("%s: %s has no example or no type", dir, v.name)
			}
		}
	}
}

// The workers' file may have the sections of docs/settings.md, but for those that the module or the ingest has.
func TestSectionsOfTheWorkersFile(t *testing.T) {
	var want []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)[^`]*` \\| (?:both|worker|ingest) \\|").FindAllStringSubmatch(read(t, "../docs/settings.md"), -1) {
		if !slices.Contains([]string{"project", "queue", "ingest", "worker"}, m[1]) {
			want = append(want, m[1])
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	list := `["` + strings.Join(want, `", "`) + `"]`
	if len(want) < 8 || !strings.Contains(read(t, module+"/variables.tf"), "yamldecode(var.config)), []), "+list) {
		t.Errorf("%s/variables.tf: config must allow exactly %s", module, list)
	}
}

// The examples' files, and the one that stands for none, are files that a worker takes.
func TestWorkersFiles(t *testing.T) {
	files, err := filepath.Glob("examples/*/worker.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, file := range files {
		cfg := service.Default()
		if err := cfg.Parse(file, []byte(read(t, file))); err != nil {
			t.Error(err)
		}
	}
	m := regexp.MustCompile(`\? "(# [^"\\]*)\\n"`).FindStringSubmatch(read(t, module+"/config.tf"))
	if m == nil {
		t.Fatal("config.tf: the text that stands for no file is not found")
	}
	cfg := service.Default()
	if err := cfg.Parse("worker.yaml", []byte(m[1]+"\n")); err != nil {
		t.Error(err)
	}
}

// The names of the environment are those of docs/settings.md: a misspelt one would be ignored in silence.
func TestEnvironment(t *testing.T) {
	doc, text := read(t, "../docs/settings.md"), read(t, module+"/config.tf")+read(t, module+"/metrics.tf")
	names := map[string]bool{}
	for _, m := range regexp.MustCompile(`\b(TAILWEIR_[A-Z_]+|GOOGLE_CLOUD_PROJECT)\b`).FindAllString(text, -1) {
		names[m] = true
	}
	if len(names) < 9 {
		t.Fatalf("found %v only", names)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !strings.Contains(doc, "`"+name+"`") {
			t.Errorf("docs/settings.md has no %s", name)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
