package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// guard kills the process groups that are still registered when this process ends, however it ends: a test binary that is
// interrupted or killed by its timeout runs no cleanup.
const guardScript = `
all=" "
while read -r op group; do
	case $op in
	+) all="$all$group " ;;
	-) all=$(printf %s "$all" | sed "s/ $group / /") ;;
	esac
done
for group in $all; do kill -s KILL -- "-$group" 2>/dev/null; done`

var guard struct {
	mu   sync.Mutex
	pipe io.WriteCloser
}

func startGuard() (stop func(), err error) {
	cmd := exec.Command("/bin/sh", "-c", guardScript)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if guard.pipe, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		guard.pipe.Close()
		cmd.Wait()
	}, nil
}

func tellGuard(op string, group int) {
	guard.mu.Lock()
	defer guard.mu.Unlock()
	fmt.Fprintln(guard.pipe, op, group)
}

// process is a running command in a process group of its own, which is gone at the end of the test.
type process struct {
	t        *testing.T
	name     string
	cmd      *exec.Cmd
	out, err output
	done     chan struct{} // closed when it has exited
}

// output is what a process has written so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// lines is the non-empty lines written so far.
func (o *output) lines() []string {
	return strings.FieldsFunc(o.String(), func(r rune) bool { return r == '\n' })
}

// start runs a program with env added to this process's environment, less what would configure it by accident.
func start(t *testing.T, env []string, program string, args ...string) *process {
	t.Helper()
	return startAt(t, "", env, program, args...)
}

// startIn is start in a directory.
func startIn(t *testing.T, dir, program string, args ...string) *process {
	t.Helper()
	return startAt(t, dir, nil, program, args...)
}

func startAt(t *testing.T, dir string, env []string, program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: filepath.Base(program), cmd: exec.Command(program, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, append(cleanEnv(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
	group := p.cmd.Process.Pid
	tellGuard("+", group)
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		syscall.Kill(-group, syscall.SIGKILL)
		<-p.done
		tellGuard("-", group)
		if t.Failed() {
			t.Logf("%s wrote:\n%s\n%s", p.name, tail(p.out.String()), tail(p.err.String()))
		}
	})
	return p
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "OTEL_") && !strings.HasPrefix(kv, "TAILWEIR_") && !strings.HasPrefix(kv, "PUBSUB_") &&
			!strings.HasPrefix(kv, "GOOGLE_CLOUD_") && !strings.HasPrefix(kv, "PORT=") {
			env = append(env, kv)
		}
	}
	return env
}

func command(name string) string { return filepath.Join(binaries, name) }

// wait returns the exit status.
func (p *process) wait(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		p.t.Fatalf("%s still runs after %v", p.name, limit)
		return -1
	}
}

// signal sends sig to the process alone, as a terminal or a container's host would.
func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("signal %s: %v", p.name, err)
	}
}

// exited says why waiting for the process is in vain, or "".
func (p *process) exited() string {
	select {
	case <-p.done:
		return fmt.Sprintf("%s has exited with status %d", p.name, p.cmd.ProcessState.ExitCode())
	default:
		return ""
	}
}

// finish waits for a program that ends by itself and fails the test if it does not end well.
func (p *process) finish(limit time.Duration) {
	p.t.Helper()
	if code := p.wait(limit); code != 0 {
		p.t.Fatalf("%s: exit status %d\n%s", p.name, code, tail(p.err.String()))
	}
}

// freeAddr is an address on loopback that was free a moment ago, for programs that do not tell which port they got.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// answering waits until something accepts connections at addr.
func (p *process) answering(addr string) {
	p.t.Helper()
	await(p.t, p.name+" answers on "+addr, func() string {
		if why := p.exited(); why != "" {
			p.t.Fatal(why)
		}
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		return errorText(errors.Join(err, closed(conn)))
	})
}

func closed(c net.Conn) error {
	if c == nil {
		return nil
	}
	return c.Close()
}

func errorText(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}
