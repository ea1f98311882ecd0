package e2e_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"
)

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
