package gcp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/auth/grpctransport"
	logging "cloud.google.com/go/logging/apiv2"
	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// The clients trust the system's authorities, which are read once in a process: before the first connection they become
// one of this test's own.
var serverCert tls.Certificate

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "gcp")
	if err == nil {
		err = makeAuthority(filepath.Join(dir, "ca.pem"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func makeAuthority(file string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return err
	}
	serverCert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	os.Setenv("SSL_CERT_FILE", file)
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
}

// call is what the server saw of a request.
type call struct {
	peer   string
	header metadata.MD
}

// serve answers every method with success and says what it saw.
func serve(t *testing.T, opts ...grpc.ServerOption) (addr string, calls <-chan call) {
	seen := make(chan call, 100)
	s := grpc.NewServer(append(opts, grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(stream.Context())
		p, _ := peer.FromContext(stream.Context())
		seen <- call{p.Addr.String(), md}
		if err := stream.RecvMsg(new(emptypb.Empty)); err != nil {
			return err
		}
		return stream.SendMsg(new(emptypb.Empty))
	}))...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return l.Addr().String(), seen
}

// account writes the file of a service account whose tokens are "token-1", "token-2", ..., each valid for the time, and
// makes it the environment's.
func account(t *testing.T, valid time.Duration) (tokens *atomic.Int32) {
	tokens = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":%d}`, tokens.Add(1), int(valid.Seconds()))
	}))
	t.Cleanup(server.Close)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "account-project", "client_email": "a@account-project.iam.gserviceaccount.com",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": server.URL,
	})
	file := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	return tokens
}

func connect(t *testing.T, d Dial) grpctransport.GRPCClientConnPool {
	t.Helper()
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := d.Authenticate(); err != nil {
		t.Fatal(err)
	}
	pool, err := d.Connect(t.Context(), "unused.invalid:1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	return pool
}

func invoke(t *testing.T, pool grpctransport.GRPCClientConnPool) error {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return pool.Invoke(ctx, "/service/Method", new(emptypb.Empty), new(emptypb.Empty))
}

func TestRequestsCarryFreshTokens(t *testing.T) {
	for valid, want := range map[time.Duration][]string{
		time.Hour:   {"Bearer token-1", "Bearer token-1"},
		time.Second: {"Bearer token-1", "Bearer token-2"},
	} {
		addr, calls := serve(t, grpc.Creds(credentials.NewServerTLSFromCert(&serverCert)))
		account(t, valid)
		pool := connect(t, Dial{Endpoint: addr, QuotaProject: "quota-project"})
		var got []string
		for range 2 {
			if err := invoke(t, pool); err != nil {
				t.Fatal(err)
			}
			c := <-calls
			got = append(got, c.header.Get("authorization")...)
			if q := c.header.Get(QuotaHeader); !slices.Equal(q, []string{"quota-project"}) {
				t.Errorf("%s: %q", QuotaHeader, q)
			}
			if valid == time.Second {
				time.Sleep(valid)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("tokens valid for %s: %q, want %q", valid, got, want)
		}
	}
}

func TestGeneratedClientsCarryTokens(t *testing.T) {
	addr, calls := serve(t, grpc.Creds(credentials.NewServerTLSFromCert(&serverCert)))
	account(t, time.Hour)
	d := Dial{Endpoint: addr, QuotaProject: "quota-project", Connections: 2}
	if err := d.Authenticate(); err != nil {
		t.Fatal(err)
	}
	checkGenerated(t, d, calls, "Bearer token-1")
}

func TestInsecureCarriesTheQuotaProjectAndNoToken(t *testing.T) {
	addr, calls := serve(t)
	account(t, time.Hour)
	d := Dial{Endpoint: addr, Insecure: true, QuotaProject: "quota-project", Connections: 2}
	checkGenerated(t, d, calls, "")
	if err := invoke(t, connect(t, d)); err != nil {
		t.Fatal(err)
	}
	if c := <-calls; c.header.Get(QuotaHeader)[0] != "quota-project" || len(c.header.Get("authorization")) > 0 {
		t.Errorf("header: %v", c.header)
	}
}

func checkGenerated(t *testing.T, d Dial, calls <-chan call, token string) {
	client, err := logging.NewClient(t.Context(), d.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	peers := map[string]bool{}
	for range 4 {
		if _, err := client.WriteLogEntries(t.Context(), &loggingpb.WriteLogEntriesRequest{}); err != nil {
			t.Fatal(err)
		}
		c := <-calls
		peers[c.peer] = true
		if got := strings.Join(c.header.Get("authorization"), ","); got != token {
			t.Errorf("authorization %q, want %q", got, token)
		}
		if q := c.header.Get(QuotaHeader); !slices.Equal(q, []string{"quota-project"}) {
			t.Errorf("%s: %q", QuotaHeader, q)
		}
		if ua := c.header.Get("user-agent"); len(ua) != 1 || !strings.HasPrefix(ua[0], "tailweir/devel") {
			t.Errorf("user agent %q", ua)
		}
	}
	if len(peers) != 2 {
		t.Errorf("%d connections, want 2", len(peers))
	}
}

func TestConnectionsAreUsedInTurn(t *testing.T) {
	addr, calls := serve(t)
	pool := connect(t, Dial{Endpoint: addr, Insecure: true, Connections: 3})
	peers := map[string]int{}
	for range 6 {
		if err := invoke(t, pool); err != nil {
			t.Fatal(err)
		}
		peers[(<-calls).peer]++
	}
	if len(peers) != 3 {
		t.Errorf("requests by connection: %v, want 3 connections", peers)
	}
}

func TestRefusedTokenIsUnauthenticated(t *testing.T) {
	addr, _ := serve(t, grpc.Creds(credentials.NewServerTLSFromCert(&serverCert)))
	account(t, time.Hour)
	pool := connect(t, Dial{Endpoint: addr})
	file := os.Getenv("GOOGLE_APPLICATION_CREDENTIALS")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := invoke(t, pool); err != nil {
		t.Fatal(err)
	}
	gone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
	}))
	defer gone.Close()
	var f map[string]string
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	f["token_uri"] = gone.URL
	b, _ = json.Marshal(f)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := invoke(t, connect(t, Dial{Endpoint: addr})); status.Code(err) != codes.Unauthenticated {
		t.Errorf("error %v, want UNAUTHENTICATED", err)
	}
}

func TestProjectOfTheCredentials(t *testing.T) {
	account(t, time.Hour)
	var d Dial
	if err := d.Authenticate(); err != nil {
		t.Fatal(err)
	}
	r := Routes{}
	if err := r.Complete(t.Context(), d.Credentials); err != nil || r.Project != "account-project" {
		t.Errorf("project %q, %v", r.Project, err)
	}
	r = Routes{Project: "set-project"}
	if err := r.Complete(t.Context(), d.Credentials); err != nil || r.Project != "set-project" {
		t.Errorf("project %q, %v", r.Project, err)
	}
	if err := (&Routes{}).Complete(t.Context(), nil); err == nil {
		t.Error("no project and no error")
	}
}

func TestMissingCredentialsSayWhatToDo(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "missing.json"))
	err := new(Dial).Authenticate()
	for _, want := range []string{"missing.json", "GOOGLE_APPLICATION_CREDENTIALS", "gcloud auth application-default login", "service account"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

func TestValidateNamesAllFaultsOfDial(t *testing.T) {
	err := Dial{Endpoint: "https://host", QuotaProject: "x", Connections: 1000}.Validate()
	for _, want := range []string{"endpoint", "quota_project", "connections"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if err := (Dial{Insecure: true}).Validate(); err == nil {
		t.Error("insecure without an endpoint is taken")
	}
	if err := (Dial{}).Validate(); err != nil {
		t.Error(err)
	}
}
