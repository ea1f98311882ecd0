package auth

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestNewKey(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		k := NewKey()
		if !isKey(k) || seen[k] || len(HashOf(k)) != len(hashPrefix)+64 {
			t.Fatalf("key %q, seen before %v", k, seen[k])
		}
		seen[k] = true
	}
}

func TestParseReportsEveryFault(t *testing.T) {
	key := NewKey()
	src := `- name: shop
  hash: ` + key + `
- {name: "a b", hash: "sha256:12"}
- name: ` + key + `
  hash: ` + HashOf(key) + `
- name: till
  hash: ` + HashOf(key) + `
  until: tomorrow
  limit: {requests: -1, bytes: 2TiB}
  attributes: {"": x}
- name: a
  hash: ` + HashOf(key) + `
- name: b
  hash: ` + HashOf(key) + `
- name: a
  hash: ` + HashOf(NewKey()) + `
- name: unknown
  hsh: x
  ` + key + `: x
`
	_, err := Parse("keys.yaml", []byte(src))
	if err == nil {
		t.Fatal("no fault was found")
	}
	if strings.Contains(err.Error(), key) {
		t.Errorf("the key is in the error:\n%v", err)
	}
	for _, want := range []string{
		"keys.yaml:8:10: [3].until: is no time",
		`keys.yaml:18:3: [7].hsh: unknown key, did you mean "hash"?`,
		"[7].hash: required",
		"[7]." + keyPrefix + "…: unknown key",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no fault %q in:\n%v", want, err)
		}
	}
	src = src[:strings.Index(src, "- name: unknown")]
	src = strings.Replace(src, "tomorrow", "2027-01-01T10:00:00+09:00", 1)
	_, err = Parse("keys.yaml", []byte(src))
	if err == nil || strings.Contains(err.Error(), key) {
		t.Fatalf("error %v, want one without the key", err)
	}
	for _, want := range []string{
		"keys.yaml:2:9: [0].hash: is a key: it must not stand in a file",
		"keys.yaml:3:10: [1].name: want 1 to 63 letters",
		"[1].hash: want sha256: and 64 hex digits",
		"keys.yaml:4:9: [2].name: want 1 to 63 letters",
		"[3].limit.requests: -1 is out of bounds",
		"[3].limit.bytes: 2TiB is out of bounds",
		"[3].attributes: want names of 1 to 128 bytes",
		"[5].hash: is that of a",
		"[6].name: a is given twice",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no fault %q in:\n%v", want, err)
		}
	}
}

func TestWhose(t *testing.T) {
	key := NewKey()
	ring, err := Parse("keys.yaml", []byte(entry("shop", key, "  until: 2027-03-31\n")))
	if err != nil {
		t.Fatal(err)
	}
	name, until, ok := ring.Whose(key + "\n")
	if !ok || name != "shop" || !until.Equal(time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%s, %v, %v", name, until, ok)
	}
	for _, other := range []string{"", "x", NewKey()} {
		if name, _, ok := ring.Whose(other); ok {
			t.Errorf("%q is of %s", other, name)
		}
	}
}

// follower is a Gate that follows its file, and what it logs.
type follower struct {
	*Gate
	file string
	log  bytes.Buffer
}

func follow(t *testing.T, text string) *follower {
	f := &follower{file: keysFile(t, text)}
	g, err := Open(Config{Keys: f.file, Logger: slog.New(slog.NewTextHandler(&f.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	f.Gate = g
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

// lines counts those of a level.
func (f *follower) lines(level string) int { return strings.Count(f.log.String(), "level="+level) }

// TestRotation goes the way of docs/auth.md: the new key beside the old one, apps take it, the old one goes; nobody restarts, and what was
// counted stays.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := NewKey(), NewKey()
		f := follow(t, entry("first", first))
		see := func(step string, wantFirst, wantSecond Reason) {
			t.Helper()
			time.Sleep(pollEvery + time.Second)
			synctest.Wait()
			if r := asked(f.Gate, with("192.0.2.1", "x-api-key", first)); r != wantFirst {
				t.Errorf("%s: the first key is answered %d, want %d", step, r, wantFirst)
			}
			if r := asked(f.Gate, with("192.0.2.1", "x-api-key", second)); r != wantSecond {
				t.Errorf("%s: the second key is answered %d, want %d", step, r, wantSecond)
			}
		}
		see("before", nobody, Unknown)
		write(t, f.file, entry("first", first)+entry("second", second))
		see("both", nobody, nobody)
		write(t, f.file, entry("second", second, "  limit: {requests: 50}\n"))
		see("after", Unknown, nobody)
		if n := f.lines("INFO"); n != 2 {
			t.Errorf("%d lines, want one for each change:\n%s", n, f.log.String())
		}
		if st := f.Stats(); len(st.Keys) != 1 || st.Keys[0].Requests != 2 {
			t.Errorf("%+v, want the second key with both its requests", st)
		}
		if s := f.log.String(); strings.Contains(s, first) || strings.Contains(s, second) {
			t.Errorf("a key is in the log:\n%s", s)
		}
	})
}

// A file that is bad, or gone, leaves the keys as they were; an error each minute says so, until it is mended.
func TestBadFileKeepsTheKeys(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, f *follower){
		"broken":       func(t *testing.T, f *follower) { write(t, f.file, "- name: [") },
		"empty":        func(t *testing.T, f *follower) { write(t, f.file, "") },
		"gone":         func(t *testing.T, f *follower) { os.Remove(f.file) },
		"a key in it":  func(t *testing.T, f *follower) { write(t, f.file, "- {name: x, hash: "+NewKey()+"}\n") },
		"a directory":  func(t *testing.T, f *follower) { os.Remove(f.file); os.Mkdir(f.file, 0o700) },
		"half of it":   func(t *testing.T, f *follower) { write(t, f.file, entry("shop", NewKey())[:40]) },
		"two with one": func(t *testing.T, f *follower) { k := NewKey(); write(t, f.file, entry("a", k)+entry("b", k)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key := NewKey()
				f := follow(t, entry("shop", key))
				spoil(t, f)
				time.Sleep(3*time.Minute + pollEvery + time.Second)
				synctest.Wait()
				if r := asked(f.Gate, with("192.0.2.1", "x-api-key", key)); r != nobody || !f.Stats().Faulty {
					t.Errorf("the key is answered %d, the file is faulty: %v", r, f.Stats().Faulty)
				}
				if n := f.lines("ERROR"); n != 4 {
					t.Errorf("%d errors in 3 minutes and some seconds, want 4:\n%s", n, f.log.String())
				}
				if info, err := os.Stat(f.file); err == nil && info.IsDir() {
					os.Remove(f.file)
				}
				write(t, f.file, entry("shop", key)+entry("till", NewKey()))
				time.Sleep(pollEvery)
				synctest.Wait()
				if st := f.Stats(); st.Faulty || len(st.Keys) != 2 {
					t.Errorf("mended: %+v", st)
				}
			})
		})
	}
}

// A limit's state outlives a change elsewhere in the file: else each change would be a new burst.
func TestLimitOutlivesAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := NewKey()
		f := follow(t, entry("shop", key, "  limit: {bytes: 1000}\n"))
		c, _ := f.Admit(with("192.0.2.1", "x-api-key", key))
		c.Sent(1_000_000)
		write(t, f.file, entry("shop", key, "  limit: {bytes: 1000}\n")+entry("till", NewKey()))
		time.Sleep(pollEvery + time.Second)
		synctest.Wait()
		if r := asked(f.Gate, with("192.0.2.1", "x-api-key", key)); r != Throttled || len(f.Stats().Keys) != 2 {
			t.Errorf("the key is answered %d, want throttled", r)
		}
	})
}

// FuzzParse: any file is either a keyring whose keys can all be used, or an error that quotes no key.
func FuzzParse(f *testing.F) {
	key := NewKey()
	f.Add(entry("shop", key, "  until: 2027-03-31\n  limit: {requests: 3, bytes: 5MB}\n  attributes: {tenant: acme}\n"))
	f.Add("- {name: shop, hash: " + key + "}")
	f.Add("- *a\n")
	f.Add("[]")
	f.Fuzz(func(t *testing.T, src string) {
		ring, err := Parse("keys.yaml", []byte(src))
		if err != nil {
			if keysIn.MatchString(err.Error()) {
				t.Fatalf("a key is in %v", err)
			}
			return
		}
		if len(ring.keys) == 0 || len(ring.byHash) != len(ring.keys) {
			t.Fatalf("%d keys, %d to be found", len(ring.keys), len(ring.byHash))
		}
		for _, k := range ring.keys {
			k.use.take(time.Unix(1_800_000_000, 0))
			k.caller.Sent(1 << 20)
			if k.caller.Name == "" || len(k.caller.Stamp) > 16*512 {
				t.Fatalf("key %+v", k)
			}
		}
		_ = fmt.Sprint(ring.Names())
	})
}
