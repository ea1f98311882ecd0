package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// deployed is how an example of terraform/ runs our processes, as terraform's own plan or state says.
type deployed struct {
	Ingest, Worker settings
}

type settings struct {
	Command           []string
	Env               []string
	File              string // where the settings' file is mounted; "" for none
	Startup, Liveness probe
	Grace             time.Duration
}

type probe struct {
	GRPC            bool
	Port            int
	Path            string
	Period, Timeout time.Duration
	Threshold       int
}

// ask is one probe.
func (p probe) ask() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.Timeout)
	defer cancel()
	address := fmt.Sprintf("127.0.0.1:%d", p.Port)
	if p.GRPC {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer conn.Close()
		answer, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		if err == nil && answer.Status != healthpb.HealthCheckResponse_SERVING {
			err = errors.New(answer.Status.String())
		}
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+p.Path, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode < 200 || answer.StatusCode >= 400 {
		return errors.New(answer.Status)
	}
	return nil
}

// run starts a process as the platform would: its command and environment, up when the startup probe says so, and not with as many
// failures in a row as would have it killed, then or later. stop ends the watching.
func (s settings) run(c *container, more []string, arg string) (p *process, stop func()) {
	c.t.Helper()
	c.image.entrypoint = s.Command[:1] // what a platform calls the command replaces the image's entrypoint
	p = c.run(append(slices.Clip(s.Env), more...), append(slices.Clone(s.Command[1:]), arg)...)
	for failed := 0; ; failed++ {
		err := s.Startup.ask()
		if err == nil {
			break
		}
		if why := p.exited(); why != "" || failed >= s.Startup.Threshold {
			c.t.Fatalf("%s is not up after %d startup probes: %v %s", p.name, failed+1, err, why)
		}
		time.Sleep(s.Startup.Period)
	}
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for failed := 0; ; {
			select {
			case <-done:
				return
			case <-time.After(s.Liveness.Period):
			}
			if err := s.Liveness.ask(); err == nil {
				failed = 0
			} else if failed++; failed >= s.Liveness.Threshold {
				c.t.Errorf("%s would have been killed: its liveness probe failed %d times: %v", p.name, failed, err)
				return
			}
		}
	}()
	return p, func() { close(done); <-watched }
}

// TestDeployedLosesNothing runs ingest and worker as the examples of terraform/ do: with the command, environment, ports, probes, file and grace
// that terraform says, and nothing else but the address of the embedded Pub/Sub, an OTLP backend in place of Google's, and --create in place
// of the topics that terraform makes. They are taken away under traffic, with SIGTERM and then as by a crash, and nothing is lost.
//
// The ports are those of the deployment, so each run has a network of its own, which is this program run again in one.
func TestDeployedLosesNothing(t *testing.T) {
	for _, example := range []string{"cloud-run", "mig"} {
		t.Run(example, func(t *testing.T) {
			if file := os.Getenv("TAILWEIR_E2E_DEPLOYED"); file != "" {
				var d deployed
				if text, err := os.ReadFile(file); err != nil {
					t.Fatal(err)
				} else if err := json.Unmarshal(text, &d); err != nil {
					t.Fatal(err)
				}
				d.losesNothing(t, example)
				return
			}
			t.Parallel()
			if os.Geteuid() != 0 {
				missing(t, "only root may make a network")
			}
			unshare := need(t, "it is part of util-linux", "unshare")
			need(t, "it is part of iproute2", "ip")
			d := planned(t, example)
			text, err := json.MarshalIndent(d, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s", text)
			file := filepath.Join(t.TempDir(), "deployed.json")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			made := builtImage(t)
			again := start(t, []string{"TAILWEIR_E2E_DEPLOYED=" + file, "TAILWEIR_E2E_BINARIES=" + binaries,
				"TAILWEIR_E2E_IMAGE=" + strings.Join(append([]string{made.root, made.user}, made.entrypoint...), "\n")},
				unshare, "--net", "sh", "-c", `ip link set lo up && exec "$0" "$@"`, os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v", "-test.timeout=6m")
			code := again.wait(7 * time.Minute)
			if code != 0 || !strings.Contains(again.out.String(), "--- PASS: "+t.Name()) {
				t.Errorf("exit status %d\n%s", code, tail(again.out.String()))
			}
		})
	}
}

func (d deployed) losesNothing(t *testing.T, example string) {
	c := newContainer(t)
	pubsub, backend := freeAddr(t), newSink(t)
	broker := start(t, nil, command("tailweir"), "broker", "--listen", pubsub)
	broker.answering(pubsub)
	// The example's own file, with another backend: Google's wants credentials.
	text, err := os.ReadFile("../terraform/examples/" + example + "/worker.yaml")
	if err != nil {
		t.Fatal(err)
	}
	policies, _, ok := strings.Cut(string(text), "\nexporters:\n")
	if !ok || d.Worker.File == "" {
		t.Fatalf("%s: its worker's file has no exporters, or no place", example)
	}
	c.mount(d.Worker.File, policies+fmt.Sprintf("\nexporters:\n  - {type: otlp, endpoint: %q}\n", backend.url))
	emulator := []string{"PUBSUB_EMULATOR_HOST=" + pubsub}
	port := d.Ingest.Startup.Port

	var sent []sentTrace
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, 0} {
		ingest, unwatchIngest := d.Ingest.run(c, append(emulator, "PORT="+strconv.Itoa(port)), "--create")
		worker, unwatchWorker := d.Worker.run(c, emulator, "--create")
		for _, protocol := range []string{"http/protobuf", "grpc"} {
			sent = append(sent, newApp(t, fmt.Sprintf("http://127.0.0.1:%d", port), protocol, "shop").traffic(t, 20)...)
		}
		if end == 0 {
			want := expected(t, sent)
			await(t, "what was kept of all instances' time is with the backend, and each log record", func() string {
				if spans, records := backend.spanCounts(), backend.recordCounts(); len(spans) < len(want) || len(records) < len(sent) {
					return fmt.Sprintf("%d of %d traces, %d of %d records", len(spans), len(want), len(records), len(sent))
				}
				return ""
			})
		}
		unwatchIngest()
		unwatchWorker()
		if end == syscall.SIGKILL { // as after a failed liveness probe, or with the machine
			for _, p := range []*process{ingest, worker} {
				p.signal(syscall.SIGKILL)
				p.wait(patience)
			}
			continue
		}
		for p, grace := range map[*process]time.Duration{ingest: d.Ingest.Grace, worker: d.Worker.Grace} {
			p.signal(syscall.SIGTERM)
			select {
			case <-p.done:
			case <-time.After(grace):
				p.signal(syscall.SIGKILL)
				t.Errorf("%s would have been killed: it runs %v after SIGTERM", p.name, grace)
			}
			if code := p.wait(patience); code != 0 {
				t.Errorf("%s: exit status %d", p.name, code)
			}
		}
	}
	if diff := cmp.Diff(spansOfKept(t, sent), backend.spanCounts()); diff != "" {
		t.Errorf("spans of each trace at the backend (-want +got):\n%s", diff)
	}
	records := backend.recordCounts()
	for _, trace := range sent {
		if records[trace.ID] == 0 {
			t.Errorf("the log record of %s is lost", trace.ID)
		}
	}
	t.Logf("%d traces, %d kept, %d spans more than once", len(sent), len(expected(t, sent)), backend.copies)
}

func spansOfKept(t *testing.T, sent []sentTrace) map[string]int {
	want := map[string]int{}
	for id := range expected(t, sent) {
		want[id] = spansPerCheckout
	}
	return want
}

// resources is what a plan or a state of terraform's has in its modules, by type and name.
type resources map[string]json.RawMessage

func (r resources) into(t *testing.T, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(r[name], v); err != nil {
		t.Fatalf("%s: %v in %q", name, err, r[name])
	}
}

type values struct {
	RootModule struct {
		Children []struct {
			Resources []struct {
				Type, Name string
				Values     json.RawMessage
			}
		} `json:"child_modules"`
	} `json:"root_module"`
}

func (v values) resources() resources {
	all := resources{}
	for _, m := range v.RootModule.Children {
		for _, r := range m.Resources {
			all[r.Type+"."+r.Name] = r.Values
		}
	}
	return all
}

// planned asks terraform, with a stub in place of Google's provider. A plan says all of Cloud Run's settings; what a virtual machine is told
// is only known after an apply, so for that one it is the state of a mocked apply, by terraform test.
func planned(t *testing.T, example string) (d deployed) {
	t.Helper()
	terraform := need(t, "https://developer.hashicorp.com/terraform/install", "terraform")
	check := os.Getenv("TAILWEIR_TERRAFORM_CHECK")
	if check == "" {
		missing(t, "TAILWEIR_TERRAFORM_CHECK names no checker that works without a network")
	}
	empty, data := t.TempDir(), t.TempDir()
	if out, err := exec.Command(check, empty).CombinedOutput(); err != nil { // leaves its settings
		t.Fatalf("%v\n%s", err, out)
	}
	settings := filepath.Join(filepath.Dir(check), "build", "offline.tfrc")
	if _, err := os.Stat(settings); err != nil {
		missing(t, err.Error())
	}
	run := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command(terraform, append([]string{"-chdir=../terraform/examples/" + example}, args...)...)
		cmd.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+settings, "TF_DATA_DIR="+data, "CHECKPOINT_DISABLE=1")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("terraform %v: %v\n%s", args, err, tail(string(out)))
		}
		return out
	}
	run("get")
	file := filepath.Join(data, "plan")
	run("plan", "-input=false", "-no-color", "-var-file=terraform.tfvars.example", "-state="+filepath.Join(data, "state"), "-out="+file)
	var plan struct {
		Values values `json:"planned_values"`
	}
	if err := json.Unmarshal(run("show", "-json", file), &plan); err != nil {
		t.Fatal(err)
	}
	made := plan.Values.resources()
	defer func() { made.have(t, append(slices.Clip(d.Ingest.Env), d.Worker.Env...)) }()
	d.Ingest = onCloudRun(t, made, "google_cloud_run_v2_service.ingest")
	if example == "cloud-run" {
		d.Worker = onCloudRun(t, made, "google_cloud_run_v2_worker_pool.worker")
		return d
	}
	lines := bufio.NewScanner(bytes.NewReader(run("test", "-json", "-verbose")))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var line struct {
			State *values `json:"test_state"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.State != nil {
			d.Worker = onMachine(t, line.State.resources())
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return d
}

// have fails where the environment names a topic or a subscription that terraform does not make: --create would hide it.
func (r resources) have(t *testing.T, env []string) {
	t.Helper()
	var names []string
	for key := range r {
		if kind, _, _ := strings.Cut(key, "."); kind == "google_pubsub_topic" || kind == "google_pubsub_subscription" {
			var object struct{ Name string }
			r.into(t, key, &object)
			names = append(names, kind+" "+object.Name)
		}
	}
	found := 0
	for _, e := range env {
		key, value, _ := strings.Cut(e, "=")
		for suffix, kind := range map[string]string{"TOPIC": "google_pubsub_topic ", "SUBSCRIPTION": "google_pubsub_subscription "} {
			if strings.HasPrefix(key, "TAILWEIR_") && strings.HasSuffix(key, suffix) {
				found++
				if !slices.Contains(names, kind+value) {
					t.Errorf("%s: terraform makes %q alone", e, names)
				}
			}
		}
	}
	if found < 7 {
		t.Errorf("%d topics and subscriptions in %q", found, env)
	}
}

type cloudRunProbe struct {
	Period    int `json:"period_seconds"`
	Timeout   int `json:"timeout_seconds"`
	Threshold int `json:"failure_threshold"`
	GRPC      []struct {
		Port int
	}
	HTTP []struct {
		Port int
		Path string
	} `json:"http_get"`
}

func (p cloudRunProbe) probe(t *testing.T) probe {
	t.Helper()
	made := probe{Period: time.Duration(p.Period) * time.Second, Timeout: time.Duration(p.Timeout) * time.Second, Threshold: p.Threshold}
	switch {
	case len(p.GRPC) == 1:
		made.GRPC, made.Port = true, p.GRPC[0].Port
	case len(p.HTTP) == 1:
		made.Port, made.Path = p.HTTP[0].Port, p.HTTP[0].Path
	}
	if made.Port == 0 || made.Period == 0 || made.Timeout == 0 || made.Threshold == 0 {
		t.Fatalf("no probe in %+v", p)
	}
	return made
}

func onCloudRun(t *testing.T, all resources, name string) settings {
	t.Helper()
	var r struct {
		Template []struct {
			Containers []struct {
				Command, Args []string
				Env           []struct{ Name, Value string }
				Ports         []struct {
					Port int `json:"container_port"`
				}
				Startup  []cloudRunProbe `json:"startup_probe"`
				Liveness []cloudRunProbe `json:"liveness_probe"`
				Mounts   []struct {
					Path string `json:"mount_path"`
				} `json:"volume_mounts"`
			}
			Volumes []struct {
				Secret []struct {
					Items []struct{ Path string }
				}
			}
		}
	}
	all.into(t, name, &r)
	if len(r.Template) != 1 || len(r.Template[0].Containers) != 1 || len(r.Template[0].Containers[0].Startup) != 1 || len(r.Template[0].Containers[0].Liveness) != 1 {
		t.Fatalf("%s: %+v", name, r)
	}
	c := r.Template[0].Containers[0]
	s := settings{Command: append(c.Command, c.Args...), Startup: c.Startup[0].probe(t), Liveness: c.Liveness[0].probe(t), Grace: grace}
	for _, e := range c.Env {
		s.Env = append(s.Env, e.Name+"="+e.Value)
	}
	if len(c.Ports) == 1 && c.Ports[0].Port != s.Startup.Port {
		t.Errorf("%s: port %d, and the probe asks %d", name, c.Ports[0].Port, s.Startup.Port)
	}
	if len(c.Mounts) == 1 {
		s.File = filepath.Join(c.Mounts[0].Path, r.Template[0].Volumes[0].Secret[0].Items[0].Path)
	}
	return s
}

// onMachine reads what cloud-init writes: systemd's unit with docker's arguments, and the environment.
func onMachine(t *testing.T, all resources) (s settings) {
	t.Helper()
	var template struct {
		Metadata map[string]string
	}
	all.into(t, "google_compute_instance_template.worker", &template)
	var init struct {
		Files []struct{ Path, Content string } `json:"write_files"`
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(template.Metadata["user-data"], "#cloud-config\n")), &init); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range init.Files {
		files[f.Path] = f.Content
	}
	unit := strings.ReplaceAll(files["/etc/systemd/system/tailweir-worker.service"], "\\\n", "")
	find := func(pattern string) string {
		m := regexp.MustCompile(pattern).FindStringSubmatch(unit)
		if m == nil {
			t.Fatalf("no %s in\n%s", pattern, unit)
		}
		return m[1]
	}
	args := strings.Fields(find(`(?m)^ExecStart=/usr/bin/docker run (.*)$`))
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; arg {
		case "--rm", "--read-only":
		case "--name", "--network", "--cap-drop", "--security-opt":
			i++
		case "--env-file":
			i++ // /run/tailweir/machine.env, which the machine writes, is its memory alone
			s.Env = append(s.Env, strings.Fields(files[args[i]])...)
		case "--volume":
			i++
			s.File = strings.Split(args[i], ":")[1]
		case "--entrypoint":
			s.Command = append([]string{args[i+1]}, args[i+3:]...) // the image stands between
			i = len(args)
		default:
			t.Fatalf("docker run %s: this test does not know what it does", arg)
		}
	}
	seconds, err := strconv.Atoi(find(`(?m)^ExecStop=/usr/bin/docker stop --time (\d+) worker$`))
	if err != nil {
		t.Fatal(err)
	}
	s.Grace = time.Duration(seconds) * time.Second
	var check struct {
		Interval  int `json:"check_interval_sec"`
		Timeout   int `json:"timeout_sec"`
		Threshold int `json:"unhealthy_threshold"`
		HTTP      []struct {
			Port int
			Path string `json:"request_path"`
		} `json:"http_health_check"`
	}
	all.into(t, "google_compute_health_check.worker", &check)
	s.Liveness = cloudRunProbe{Period: check.Interval, Timeout: check.Timeout, Threshold: check.Threshold, HTTP: []struct {
		Port int
		Path string
	}{{check.HTTP[0].Port, check.HTTP[0].Path}}}.probe(t)
	s.Startup = s.Liveness // a machine that is healthy for the first time counts as up
	s.Startup.Period = time.Second
	s.Startup.Threshold = 60
	return s
}
