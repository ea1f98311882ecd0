package e2e_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestRollingDeploy replaces both ingests behind a balancer of connections while apps send, by SIGTERM and without a word to the
// balancer, which learns of it from refused connections. Nothing may be lost.
func TestRollingDeploy(t *testing.T) {
	t.Parallel()
	broker := freeAddr(t)
	start(t, nil, command("tailweir"), "broker", "--listen", broker).answering(broker)
	backend := newSink(t)
	config := filepath.Join(t.TempDir(), "tailweir.yaml")
	policies := "policies: [{name: all, type: always_sample}]\n"
	if err := os.WriteFile(config, fmt.Appendf(nil, policies+workerConfig, backend.url), 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"PUBSUB_EMULATOR_HOST=" + broker, "GOOGLE_CLOUD_PROJECT=e2e", "TAILWEIR_CONFIG=" + config}
	ingest := func() (*process, string) {
		addr := freeAddr(t)
		_, port, _ := net.SplitHostPort(addr)
		p := start(t, append(env, "PORT="+port), command("ingest"), "--create")
		p.answering(addr)
		return p, addr
	}
	console := freeAddr(t)
	worker := start(t, append(env, "TAILWEIR_CONSOLE="+console), command("worker"), "--create")
	b := newBalancer(t)
	first, addr1 := ingest()
	second, addr2 := ingest()
	b.to(addr1, addr2)
	worker.answering(console)

	var all []asked
	var shops []*traffic
	for _, app := range []string{"node", "go"} {
		// Small batches, so that many requests are under way.
		s := startShop(t, languageOf(app), app+" deployed", "http://"+b.addr, "http/protobuf", "OTEL_BSP_SCHEDULE_DELAY=200", "OTEL_BLRP_SCHEDULE_DELAY=200")
		w := newTraffic(t, s)
		defer w.stop()
		shops = append(shops, w)
	}
	for _, w := range shops {
		w.run(time.Second)
	}
	for _, old := range []*process{first, second} {
		_, addr := ingest()
		b.to(addr1, addr2, addr)
		old.signal(syscall.SIGTERM)
		if code := old.wait(patience); code != 0 {
			t.Errorf("ingest: exit status %d after SIGTERM", code)
		}
		addr1, addr2 = addr2, addr
		b.to(addr1, addr2)
		time.Sleep(2 * time.Second)
	}
	for _, w := range shops {
		w.pause()
		all = append(all, w.take()...)
	}
	if lost := backend.settle(t, all); lost.spans+lost.records > 0 {
		t.Errorf("of %d requests %d spans and %d log records are lost", len(all), lost.spans, lost.records)
	} else {
		t.Logf("%d requests, %d log records twice", len(all), lost.repeated)
	}
	for _, a := range all {
		if !a.ok {
			t.Errorf("a request to an app failed after %v", a.took)
		}
	}
}

// balancer relays connections to one of several addresses in turn; one that refuses is passed over.
type balancer struct {
	addr string

	mu   sync.Mutex
	next int
	all  []string
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b := &balancer{addr: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.relay(c)
		}
	}()
	return b
}

func (b *balancer) to(addrs ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = addrs
}

func (b *balancer) pick() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	return b.all[b.next%len(b.all)]
}

func (b *balancer) relay(c net.Conn) {
	defer c.Close()
	for range 6 {
		to, err := net.Dial("tcp", b.pick())
		if err != nil {
			continue
		}
		defer to.Close()
		done := make(chan struct{}, 2)
		for _, pair := range [][2]net.Conn{{c, to}, {to, c}} {
			go func() {
				io.Copy(pair[0], pair[1])
				pair[0].(*net.TCPConn).CloseWrite()
				done <- struct{}{}
			}()
		}
		<-done
		<-done
		return
	}
}
