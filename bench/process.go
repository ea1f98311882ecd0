package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a started command. Its log goes to a file beside the binary.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	peak int64 // bytes, known after stop
}

func (t *target) start(name, binary string, env []string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(t.binary(binary), args...), log: filepath.Join(t.dir, name+".log")}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = append(os.Environ(), env...), log, log
	p.cmd.SysProcAttr = attributes()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// stop asks the process to end, waits for that, and kills it after the grace.
func (p *process) stop(grace time.Duration) error {
	p.peak = p.peakMemory()
	p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(grace, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("stop %s: %w\n%s", p.name, err, p.lastWords())
	}
	return nil
}

// kill ends the process and what it started, as an outage does, and waits for that.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	_ = p.cmd.Wait()
}

// pause stops the process and what it started for a while.
func (p *process) pause(ctx context.Context, d time.Duration) error {
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	sleep(ctx, d)
	return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGCONT)
}

// sleep waits for d, or less when ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// peakMemory is VmHWM, in bytes; 0 where /proc does not tell.
func (p *process) peakMemory() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return p.peak
	}
	_, rest, _ := bytes.Cut(b, []byte("VmHWM:"))
	fields := strings.Fields(string(rest))
	if len(fields) == 0 {
		return p.peak
	}
	kib, _ := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10
}

// cpu is the whole life of a process that ended, in user and kernel mode.
func (p *process) cpu() time.Duration {
	s := p.cmd.ProcessState
	return s.UserTime() + s.SystemTime()
}

// cpuSoFar is what a running process has used, in user and kernel mode, to 10 ms; 0 where /proc does not tell.
func (p *process) cpuSoFar() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	_, rest, ok := bytes.Cut(b, []byte(") "))
	fields := strings.Fields(string(rest))
	if err != nil || !ok || len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	kernel, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+kernel) * 10 * time.Millisecond
}

func (p *process) lastWords() string {
	b, _ := os.ReadFile(p.log)
	return string(b[max(0, len(b)-2000):])
}

// alive is false once the process has ended by itself.
func (p *process) alive() bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return p.cmd.Process.Signal(syscall.Signal(0)) == nil
	}
	_, state, _ := bytes.Cut(b, []byte(") "))
	return !bytes.HasPrefix(state, []byte("Z"))
}

// until polls ready, ten times a second, until it says so, the process dies, or ctx is done.
func (p *process) until(ctx context.Context, ready func() bool) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for !ready() {
		if !p.alive() {
			return fmt.Errorf("wait for %s: it ended\n%s", p.name, p.lastWords())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w\n%s", p.name, ctx.Err(), p.lastWords())
		case <-ticker.C:
		}
	}
	return nil
}

func listens(addr string) func() bool {
	return func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false
		}
		c.Close()
		return true
	}
}

func answersOK(url string) func() bool {
	client := &http.Client{Timeout: time.Second}
	return func() bool {
		r, err := client.Get(url)
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	}
}
