package e2e_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// door stands before an ingest and relays HTTP/1.1 and h2c, so gRPC as well.
type door struct {
	url     string
	refused atomic.Int64 // requests without the key

	relay  http.Handler
	header string // that must have the key, in lower case; empty: none
}

func newDoor(t *testing.T, target string) *door {
	t.Helper()
	d := &door{relay: relayTo(t, target)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := plainServer(d)
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	d.url = "http://" + listener.Addr().String()
	return d
}

func plainServer(h http.Handler) *http.Server {
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetHTTP2(true)
	both.SetUnencryptedHTTP2(true)
	return &http.Server{Handler: h, Protocols: &both, ErrorLog: log.New(io.Discard, "", 0)}
}

// relayTo sends HTTP/1 on as HTTP/1 and HTTP/2 as h2c, trailers included.
func relayTo(t *testing.T, target string) http.Handler {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	relay := func(http2 bool) http.Handler {
		var one http.Protocols
		one.SetHTTP1(!http2)
		one.SetUnencryptedHTTP2(http2)
		transport := &http.Transport{Protocols: &one, MaxIdleConnsPerHost: 100}
		t.Cleanup(transport.CloseIdleConnections)
		return &httputil.ReverseProxy{
			Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(to) },
			Transport:     transport,
			FlushInterval: -1,
			ErrorLog:      log.New(io.Discard, "", 0),
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("relay of %s: %v", r.URL.Path, err)
				}
				w.WriteHeader(http.StatusBadGateway)
			},
		}
	}
	old, new := relay(false), relay(true)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			new.ServeHTTP(w, r)
			return
		}
		old.ServeHTTP(w, r)
	})
}

// wants has the door answer 401 to requests without the key in the header; call it before anything is sent.
func (d *door) wants(header string) { d.header = header }

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.header != "" {
		want := map[string]string{"x-api-key": key, "authorization": "Bearer " + key}[d.header]
		if r.Header.Get(d.header) != want {
			d.refused.Add(1)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
	}
	d.relay.ServeHTTP(w, r)
}
