package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tailweir/service"
)

var keyLine = regexp.MustCompile(`(?m)^tailweir_[a-z2-7]{52}$`)

// A key is made, its entry put into a file, and found there; the file never has the key.
func TestKeyNewAndCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.yaml")
	var keys []string
	var entries bytes.Buffer
	for _, args := range [][]string{
		{"new", "--name", "shop", "--attribute", "tenant=acme", "--attribute", "note=a: \"b\"", "--requests", "20", "--bytes", "5MB", "--until", "2099-01-31"},
		{"new", "--name", "till", "--bytes", "1MiB"},
		{"new", "--name", "old", "--until", "2020-01-01T00:00:00Z", "--requests", "1"},
	} {
		var notes bytes.Buffer
		if err := runKey(args, nil, &entries, &notes); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, keyLine.FindString(notes.String()))
	}
	if err := os.WriteFile(file, entries.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := entries.String(); strings.Contains(s, "tailweir_") || !strings.Contains(s, `attributes: {"note": "a: \"b\"", "tenant": "acme"}`) {
		t.Errorf("entries:\n%s", s)
	}
	check := func(in string, args ...string) (string, error) {
		var out bytes.Buffer
		err := runKey(append([]string{"check", "--keys", file}, args...), strings.NewReader(in), &out, nil)
		return out.String(), err
	}
	want := "shop, 20 requests/s, 5000000B/s, until 2099-01-31T00:00:00Z\ntill, 1MiB/s\nold, 1 requests/s, NOT VALID since 2020-01-01T00:00:00Z\n"
	if got, err := check(""); err != nil || got != want {
		t.Errorf("check: %v\n%s\nwant\n%s", err, got, want)
	}
	for i, want := range []string{"shop, until 2099", "till\n", "old, NOT VALID"} {
		if got, err := check(keys[i]+"\n", "--whose"); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("whose is key %d: %q, %v, want %q", i, got, err, want)
		}
	}
	if got, err := check("tailweir_"+strings.Repeat("a", 52), "--whose"); err == nil || got != "" || strings.Contains(err.Error(), "aaaa") {
		t.Errorf("whose is a strange key: %q, %v", got, err)
	}
}

func TestKeyUsage(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("- name: shop\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "new or check"},
		{[]string{"make"}, "new or check"},
		{[]string{"new"}, "name"},
		{[]string{"new", "--name", "a b"}, "letters, digits"},
		{[]string{"new", "--name", "a", "--attribute", "x"}, "KEY=VALUE"},
		{[]string{"new", "--name", "a", "--until", "soon"}, "2027-03-31"},
		{[]string{"new", "--name", "a", "--requests", "-1"}, "out of bounds"},
		{[]string{"check"}, "--keys FILE"},
	} {
		var out bytes.Buffer
		err := runKey(tt.args, nil, &out, &out)
		if usage := (*service.UsageError)(nil); !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.want) || keyLine.MatchString(out.String()) {
			t.Errorf("%v: %v, want a UsageError that says %q, and no key; printed %q", tt.args, err, tt.want, out.String())
		}
	}
	if err := runKey([]string{"check", "--keys", bad}, nil, nil, nil); err == nil || !strings.Contains(err.Error(), "bad.yaml:1:3: [0].hash: required") {
		t.Errorf("a bad file: %v", err)
	}
}
