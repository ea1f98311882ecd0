package console_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"tailweir/console"
)

func TestListenLoopbackOnly(t *testing.T) {
	for _, tt := range []struct {
		addr   string
		remote bool
		want   string // "" refused; else what the listeners must be
	}{
		{":0", false, "loopback"},
		{"localhost:0", false, "loopback"},
		{"127.0.0.1:0", false, "loopback"},
		{"127.0.0.2:0", false, "loopback"},
		{"0.0.0.0:0", false, ""},
		{"[::]:0", false, ""},
		{"192.0.2.1:0", false, ""},
		{"example.com:0", false, ""},
		{"8080", false, ""},
		{":0", true, "any"},
		{"localhost:0", true, "loopback"},
		{"0.0.0.0:0", true, "any"},
	} {
		ls, err := console.Listen(tt.addr, tt.remote)
		if (err == nil) != (tt.want != "") {
			t.Errorf("Listen(%q, %v): %v", tt.addr, tt.remote, err)
		}
		for _, l := range ls {
			at := l.Addr().(*net.TCPAddr)
			if at.IP.IsLoopback() != (tt.want == "loopback") || at.Port != ls[0].Addr().(*net.TCPAddr).Port {
				t.Errorf("Listen(%q, %v): %v, want %s", tt.addr, tt.remote, at, tt.want)
			}
			l.Close()
		}
	}
}

func TestListenTakenPort(t *testing.T) {
	ls, err := console.Listen(":0", false)
	if err != nil {
		t.Fatal(err)
	}
	defer ls[0].Close()
	_, port, _ := net.SplitHostPort(ls[0].Addr().String())
	for _, l := range ls[1:] {
		l.Close()
	}
	if again, err := console.Listen(":"+port, false); err == nil {
		t.Errorf("a taken port was opened again: %v", again)
	} else if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than a line: %v", err)
	}
}

func TestServe(t *testing.T) {
	ls, err := console.Listen(":0", false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- console.New(example(t), console.Config{}).Serve(ctx, ls...) }()
	for _, l := range ls {
		r, err := http.Get("http://" + l.Addr().String() + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if string(body) != "ready\n" {
			t.Errorf("%s: %q", l.Addr(), body)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", ls[0].Addr().String()); err == nil {
		c.Close()
		t.Error("the port is open after Serve returned")
	}
}
