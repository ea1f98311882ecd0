package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// faults are the ways in which an ingest can be away, by the names that docs/away.md has for them.
var faults = []string{"refuse", "hang", "401", "413", "429", "429 Retry-After 2", "503", "503 Retry-After 2", "cut", "tls", "dns"}

// faulty is an ingest that is away when asked to be: an HTTP server before the real one that breaks connections or answers by itself.
type faulty struct {
	t     *testing.T
	addr  string // host:port, kept while nothing listens there
	relay http.Handler
	good  *tls.Config // nil: plain
	bad   *tls.Certificate

	mu     sync.Mutex
	fault  string
	over   chan struct{} // closed when the fault is
	server *http.Server  // nil: nothing listens
}

// newFaulty listens on a loopback address of its own, so that nobody takes the port while it does not. With secure it speaks TLS with
// a certificate of the authority whose file it returns.
func newFaulty(t *testing.T, relay http.Handler, secure bool) (f *faulty, authority string) {
	t.Helper()
	f = &faulty{t: t, relay: relay, over: make(chan struct{})}
	if secure {
		good, file := certificate(t)
		other, _ := certificate(t)
		f.good, f.bad = &tls.Config{Certificates: []tls.Certificate{good}}, &other
		authority = file
	}
	l, err := net.Listen("tcp", ownAddr()+":0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	f.serve(l)
	t.Cleanup(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.server != nil {
			f.server.Close()
		}
	})
	return f, authority
}

var addrs struct {
	mu   sync.Mutex
	last int
}

func ownAddr() string {
	addrs.mu.Lock()
	defer addrs.mu.Unlock()
	addrs.last++
	return fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()%64, 1+addrs.last/200, 1+addrs.last%200)
}

// serve needs f.mu, or to be the only one that knows f.
func (f *faulty) serve(l net.Listener) {
	f.server = plainServer(f)
	if f.good != nil {
		cfg := f.good.Clone()
		if f.fault == "tls" {
			cfg.Certificates = []tls.Certificate{*f.bad}
		}
		f.server.TLSConfig = cfg
		go f.server.ServeTLS(l, "", "")
		return
	}
	go f.server.Serve(l)
}

// set begins a fault, or ends it with "". refuse, tls and dns also break the connections that are open, at both ends.
func (f *faulty) set(fault string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.fault
	f.fault = fault
	if fault == "" {
		close(f.over)
		f.over = make(chan struct{})
	}
	reopen := map[string]bool{"refuse": true, "tls": true, "dns": true}
	if !reopen[fault] && !reopen[before] {
		return
	}
	if f.server != nil {
		f.server.Close()
		f.server = nil
	}
	if fault != "refuse" {
		var l net.Listener
		err := error(nil)
		for range 100 {
			if l, err = net.Listen("tcp", f.addr); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			f.t.Errorf("listen on %s again: %v", f.addr, err)
			return
		}
		f.serve(l)
	}
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	fault, over := f.fault, f.over
	f.mu.Unlock()
	kind, after, _ := strings.Cut(fault, " Retry-After ")
	switch kind {
	case "hang":
		select {
		case <-over:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case "cut":
		f.cut(w, r)
	case "401", "413", "429", "503":
		if r.Header.Get("Content-Type") == "application/grpc" {
			refuseGRPC(w, grpcCodes[kind], after)
			return
		}
		number, _ := strconv.Atoi(kind)
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.WriteHeader(number)
	default:
		f.relay.ServeHTTP(w, r)
	}
}

// grpcCodes is how the ingest says over gRPC what it says with a status over HTTP.
var grpcCodes = map[string]codes.Code{"401": codes.Unauthenticated, "413": codes.ResourceExhausted, "429": codes.ResourceExhausted, "503": codes.Unavailable}

// refuseGRPC answers without a message; after is the seconds of a RetryInfo, as OTLP has them.
func refuseGRPC(w http.ResponseWriter, code codes.Code, after string) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Grpc-Status", strconv.Itoa(int(code)))
	w.Header().Set("Grpc-Message", "away")
	if seconds, _ := strconv.Atoi(after); seconds > 0 {
		s, err := status.New(code, "away").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Duration(seconds) * time.Second)})
		if err != nil {
			panic(err)
		}
		details, err := proto.Marshal(s.Proto())
		if err != nil {
			panic(err)
		}
		w.Header().Set("Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(details))
	}
}

// cut lets the ingest take the request, and breaks the connection within the answer.
func (f *faulty) cut(w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	f.relay.ServeHTTP(answer, r.WithContext(context.WithoutCancel(r.Context())))
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.Header().Set("Content-Length", "100")
	w.WriteHeader(answer.Code)
	w.Write([]byte{0x0a})
	http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// certificate is one for ingest.test, and the file of the authority that signed it.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of the test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, signer := signed(t, authority, authority, nil)
	authority, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "authority.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	der, key := signed(t, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "ingest.test"}, DNSNames: []string{"ingest.test"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter}, authority, signer)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// signed makes a key and its certificate, signed by signer or, where that is nil, by itself.
func signed(t *testing.T, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// names is a private /etc/hosts of one process, with ingest.test for an address until that is taken away. There is no other name
// server. It needs root and mount namespaces.
type names struct {
	hosts, resolv, address string
}

func newNames(t *testing.T, address string) *names {
	t.Helper()
	dir := t.TempDir()
	n := &names{filepath.Join(dir, "hosts"), filepath.Join(dir, "resolv.conf"), address}
	if err := os.WriteFile(n.resolv, []byte("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	n.set(t, true)
	return n
}

// set writes the file in place: the process has it mounted.
func (n *names) set(t *testing.T, there bool) {
	t.Helper()
	text := "127.0.0.1 localhost\n"
	if there {
		text += n.address + " ingest.test\n"
	}
	if err := os.WriteFile(n.hosts, []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}

// around is a program and its arguments as run with these names; the process stays the same.
func (n *names) around(program string, args []string) (string, []string) {
	script := fmt.Sprintf(`mount --bind %s /etc/hosts && mount --bind %s /etc/resolv.conf && exec "$@"`, n.hosts, n.resolv)
	return "unshare", append([]string{"-m", "sh", "-c", script, "sh", program}, args...)
}
