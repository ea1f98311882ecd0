package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// grace is how long Cloud Run waits after SIGTERM before it kills.
const grace = 10 * time.Second

// container runs the image as a container's host does, less the isolation that does not matter to it: a file system of its own that is
// the image and nothing else, without /proc, /dev and /tmp and mounted read-only, the image's user without groups and capabilities, and
// no environment but what it is given. The network is the machine's.
type container struct {
	t     *testing.T
	image image
	root  string
	sh    string // the command that mounts and enters root
	tools struct{ unshare, env, chroot string }
}

func newContainer(t *testing.T) *container {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "only root may change the root directory")
	}
	c := &container{t: t, image: builtImage(t), root: filepath.Join(t.TempDir(), "root")}
	c.tools.unshare = need(t, "it is part of util-linux", "unshare")
	c.tools.chroot = need(t, "it is part of GNU coreutils", "chroot")
	c.tools.env = need(t, "it is part of GNU coreutils", "env")
	c.sh = `mount --bind "$0" "$0" && mount -o remount,bind,ro,nosuid,nodev "$0" && exec "$@"`
	if out, err := exec.Command(c.tools.unshare, "--mount", "sh", "-c", c.sh, t.TempDir(), "true").CombinedOutput(); err != nil {
		missing(t, fmt.Sprintf("a mount namespace with a read-only mount: %v: %s", err, out))
	}
	if err := os.CopyFS(c.root, os.DirFS(c.image.root)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{c.root, filepath.Join(c.root, "etc")} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// mount puts a file into the image, as the volume of a secret would, readable for all.
func (c *container) mount(file, text string) {
	c.t.Helper()
	path := filepath.Join(c.root, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// run starts the image's program. The process is the program itself from then on: all that stands before it replaces itself.
func (c *container) run(env []string, args ...string) *process {
	c.t.Helper()
	line := []string{"--mount", "sh", "-c", c.sh, c.root, c.tools.env, "-i"}
	line = append(append(line, env...), c.tools.chroot, "--userspec="+c.image.user, "--groups=", c.root)
	p := start(c.t, nil, c.tools.unshare, append(append(line, c.image.entrypoint...), args...)...)
	p.name = "contained " + strings.Join(args, " ")
	return p
}

// output is what a command prints that ends well by itself.
func (c *container) output(args ...string) string {
	c.t.Helper()
	p := c.run(nil, args...)
	p.finish(patience)
	return p.out.String()
}

// confined holds a running process to what container says, as the kernel sees it.
func (c *container) confined(p *process) {
	c.t.Helper()
	read := func(name string) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name))
		if err != nil {
			c.t.Fatal(err)
		}
		return string(b)
	}
	id, _, _ := strings.Cut(c.image.user, ":")
	status := read("status")
	for _, want := range []string{`Uid:(\s+` + id + `){4}`, `Gid:(\s+` + id + `){4}`, `Groups:\s*`, `CapEff:\s+0+`, `CapPrm:\s+0+`} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(status) {
			c.t.Errorf("%s: no %s in\n%s", p.name, want, status)
		}
	}
	if !regexp.MustCompile(`(?m)^\d+ \d+ \S+ \S+ / ro,`).MatchString(read("mountinfo")) {
		c.t.Errorf("%s: its root is not mounted read-only:\n%s", p.name, read("mountinfo"))
	}
	if inside, err := os.Readlink(fmt.Sprintf("/proc/%d/root", p.cmd.Process.Pid)); err != nil || inside != c.root {
		c.t.Errorf("%s: its root is %s, %v, want %s", p.name, inside, err, c.root)
	}
}

// healthy waits until a probe would succeed.
func (p *process) healthy(url string) {
	p.t.Helper()
	await(p.t, "GET "+url, func() string {
		if why := p.exited(); why != "" {
			p.t.Fatal(why)
		}
		_, err := fetch(url)
		return errorText(err)
	})
}

// stops ends a process as Cloud Run does, which would kill it after the grace, and returns its last line.
func (p *process) stops(sig syscall.Signal) string {
	p.t.Helper()
	p.signal(sig)
	if code := p.wait(grace); code != 0 {
		p.t.Errorf("%s: exit status %d after %v, want 0", p.name, code, sig)
	}
	if lines := p.err.lines(); len(lines) > 0 {
		return lines[len(lines)-1]
	}
	return ""
}

const timeZonePolicy = `policies:
- name: noon in New York
  type: ottl_condition
  ottl_condition: {error_mode: ignore, span: ['UnixSeconds(Time("2026-01-01 12:00", "%Y-%m-%d %H:%M", "America/New_York")) == 1767286800']}
`

// TestContainedCommands runs each command of the image but ingest and worker, which TestContainersLoseNothing does.
func TestContainedCommands(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	line := regexp.MustCompile(`^tailweir ` + regexp.QuoteMeta(imageVersion) + ` go1\.\S+ linux/\w+\n$`)
	for _, args := range [][]string{{"version"}, {"--version"}, {"ingest", "--version"}, {"worker", "--version"}} {
		if out := c.output(args...); !line.MatchString(out) {
			t.Errorf("%q prints %q", args, out)
		}
	}
	help := c.output("help")
	for _, command := range regexp.MustCompile(`(?m)^  ([a-z]+) `).FindAllStringSubmatch(help, -1) {
		if name := command[1]; name != "version" && !strings.Contains(c.output(name, "--help"), "usage: ") {
			t.Errorf("%s --help does not say how it is used", name)
		}
	}
	// Time zones come from the program: the image has no table of them.
	c.mount("etc/tailweir/zone.yaml", timeZonePolicy)
	if out := c.output("check", "/etc/tailweir/zone.yaml"); !strings.Contains(out, "America/New_York") {
		t.Errorf("check prints %q", out)
	}
	c.mount("etc/tailweir/bad.yaml", "wndow: {settle: 2s}\n")
	if bad := c.run(nil, "check", "/etc/tailweir/bad.yaml"); bad.wait(patience) != 1 || !strings.Contains(bad.err.String(), `did you mean "window"?`) {
		t.Errorf("check of a bad file says %q", bad.err.String())
	}
	c.mount("traces.jsonl", `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708",`+
		`"name":"GET /","startTimeUnixNano":"1","endTimeUnixNano":"2","status":{"code":2}}]}]}]}`+"\n")
	if out := c.output("decide", "--config", "/etc/tailweir/zone.yaml", "/traces.jsonl"); !strings.Contains(out, "keep") {
		t.Errorf("decide prints %q", out)
	}

	pubsub := freeAddr(t)
	broker := c.run(nil, "broker", "--listen", pubsub)
	broker.answering(pubsub)
	c.confined(broker)
	fleet := c.run([]string{"PUBSUB_EMULATOR_HOST=" + pubsub, "GOOGLE_CLOUD_PROJECT=e2e"}, "fleet")
	if fleet.wait(patience) != 1 || !strings.Contains(fleet.err.String(), "tailweir-log") { // it reached the broker, which has no log yet
		t.Errorf("fleet says %q", fleet.err.String())
	}
	broker.stops(syscall.SIGTERM)

	local := c.run(nil, "local", "--otlp", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--console", "127.0.0.1:0")
	await(t, "tailweir local says where it is", func() string {
		if out := local.out.String(); !strings.Contains(out, "Ctrl-C") {
			return fmt.Sprintf("prints %q, says %q %s", out, local.err.String(), local.exited())
		}
		return ""
	})
	c.confined(local)
	local.stops(syscall.SIGINT)
	if out := local.out.String(); !strings.Contains(out, "Done. Received 0 spans") {
		t.Errorf("local ends with %q", out)
	}
}

// containedConfig has traces wait for longer than two apps take to send theirs, also on a busy machine.
const containedConfig = `
window: {settle: 6s, idle: 7s, max_age: 30s, slack: 1s, start_delay: 0s}
exporters:
  - {type: otlp, endpoint: "%s"}
`

// TestContainersLoseNothing runs ingest and worker of the image, takes both away with SIGTERM while traces are undecided, and starts
// others: every trace is decided once, and all of it comes to the backend.
func TestContainersLoseNothing(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	pubsub, backend := freeAddr(t), newSink(t)
	broker := start(t, nil, command("tailweir"), "broker", "--listen", pubsub)
	broker.answering(pubsub)
	c.mount("etc/tailweir/tailweir.yaml", fmt.Sprintf(containedConfig, backend.url))
	env := []string{"PUBSUB_EMULATOR_HOST=" + pubsub, "GOOGLE_CLOUD_PROJECT=e2e", "TAILWEIR_CONFIG=/etc/tailweir/tailweir.yaml"}

	var sent []sentTrace
	var worker *local
	for turn := range 2 {
		door, admin, console := freeAddr(t), freeAddr(t), freeAddr(t)
		_, port, _ := net.SplitHostPort(door)
		ingest := c.run(append(slices.Clip(env), "PORT="+port), "ingest", "--create")
		ingest.healthy("http://" + door + "/healthz")
		c.confined(ingest)
		p := c.run(append(slices.Clip(env), "TAILWEIR_ADMIN="+admin, "TAILWEIR_CONSOLE="+console), "worker", "--create")
		p.healthy("http://" + admin + "/healthz")
		c.confined(p)
		worker = &local{process: p, console: "http://" + console}
		p.healthy("http://" + admin + "/readyz") // the first that comes has to lead
		var now []sentTrace
		for _, protocol := range []string{"http/protobuf", "grpc"} {
			now = append(now, newApp(t, "http://"+door, protocol, "shop").traffic(t, 20)...)
		}
		sent = append(sent, now...)
		if last := ingest.stops(syscall.SIGTERM); !strings.Contains(last, fmt.Sprintf(`"ingest is done","spans":%d,`, countsOf(now).Spans)) {
			t.Errorf("ingest ends with %s", last)
		}
		if _, err := http.Get("http://" + door + "/healthz"); err == nil {
			t.Error("the port of the ingest is still open")
		}
		if turn == 0 {
			last := p.stops(syscall.SIGTERM)
			if !strings.Contains(last, `"grace_was_enough":true`) || strings.Contains(last, `"handed_back_messages":0,`) {
				t.Errorf("worker ends with %s, and this is about what is undecided then", last)
			}
		}
	}
	await(t, "each trace's log records are with the backend, which have its verdict", func() string {
		if got := backend.verdicts(); len(got) < len(sent) {
			return fmt.Sprintf("%d of %d", len(got), len(sent))
		}
		return ""
	})
	await(t, "nothing waits any more", func() string {
		if s := worker.stats(); s.InFlight != (counts{}) {
			return fmt.Sprintf("in flight %+v", s.InFlight)
		}
		return ""
	})
	backend.hasExactly(t, sent)
	worker.stops(syscall.SIGTERM)
}
