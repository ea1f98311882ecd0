package main

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
)

// part is a process of a run, that may be killed and started again. Its lock is held while something is done to it.
type part struct {
	sync.Mutex
	t            *target
	name, binary string
	args, env    []string
	ready        func() bool
	console      string // host:port, of a worker
	gone         bool   // for good

	state sync.Mutex // guards what follows
	proc  *process
	lives int
}

// begin starts the process and waits until it is ready.
func (p *part) begin(ctx context.Context) error {
	proc, err := p.t.start(p.name, p.binary, append(p.t.env, p.env...), p.args...)
	if err != nil {
		return err
	}
	p.state.Lock()
	p.proc = proc
	p.lives++
	p.state.Unlock()
	return proc.until(ctx, p.ready)
}

// life counts how often the process was started.
func (p *part) life() int {
	p.state.Lock()
	defer p.state.Unlock()
	return p.lives
}

// end kills what is left.
func (p *part) end() {
	if p.proc != nil && !p.gone {
		p.proc.kill()
	}
}

func (t *target) brokerPart() *part {
	return &part{t: t, name: "broker", binary: "bench", args: []string{"broker", "--addr", t.broker, "--control", t.control}, ready: listens(t.broker)}
}

// sinkPart keeps what it receives beyond its death if asked.
func (t *target) sinkPart(journal bool) *part {
	args := []string{"sink", "--http", t.sink, "--grpc", t.sinkRPC}
	if t.sinks.google() {
		args = append(args, "--google", t.google)
	}
	if journal {
		args = append(args, "--journal", filepath.Join(t.dir, "journal"))
	}
	return &part{t: t, name: "sink", binary: "bench", args: args, ready: listens(t.sink)}
}

func (t *target) ingestPart() *part {
	return &part{t: t, name: "ingest", binary: "ingest", args: []string{"--create"}, ready: listens(t.ingest)}
}

// workerPart is the n-th worker. It is up when it answers; see mustered.
func (t *target) workerPart(n int) (*part, error) {
	l, err := listenLow()
	if err != nil {
		return nil, err
	}
	defer l.Close()
	console := l.Addr().String()
	args := []string{"--create"}
	if t.alone {
		args = append(args, "--force-fleet-off")
	}
	p := &part{
		t: t, name: fmt.Sprintf("worker-%d", n), binary: "worker", args: args, env: []string{"TAILWEIR_CONSOLE=" + console},
		ready: listens(console), console: console,
	}
	if t.pin != "" {
		p.pinTo((n - 1) % runtime.NumCPU())
	}
	return p, nil
}

// pinTo gives the process one core, as a container with one CPU has. A process that is let loose on all of them spends more on
// its threads looking for work, the more the smaller its share of the load.
func (p *part) pinTo(core int) {
	p.args = append([]string{"-c", strconv.Itoa(core), p.t.binary(p.binary)}, p.args...)
	p.binary = p.t.pin
	p.env = append(p.env, "GOMAXPROCS=1")
}

// startWorkers starts n workers and waits until each is ready: the first leads, and all have their places.
func (t *target) startWorkers(ctx context.Context, n int) (all []*part, err error) {
	for i := range n {
		p, err := t.workerPart(i + 1)
		if err != nil {
			return all, err
		}
		all = append(all, p)
		if err := p.begin(ctx); err != nil {
			return all, err
		}
	}
	for _, p := range all {
		if err := p.mustered(ctx); err != nil {
			return all, err
		}
	}
	return all, nil
}

// mustered waits until a worker has its place in the fleet.
func (p *part) mustered(ctx context.Context) error {
	return p.proc.until(ctx, answersOK("http://"+p.console+"/readyz"))
}
