package auth

import (
	"bytes"
	"slices"
	"time"
)

const (
	// pollEvery is how soon a change of the file counts. Its contents are compared: a secret that is mounted is replaced by links, some
	// file systems tell no changes, and a few kB are read in no time.
	pollEvery     = 5 * time.Second
	complainEvery = time.Minute
)

// watch is what following the file needs to remember.
type watch struct {
	gate *Gate
	last []byte    // contents that were parsed last, good or bad
	bad  error     // why they, or the file, are bad
	next time.Time // of the next complaint
}

// look takes over a new file. With a bad one the keys stay as they are: who may send must not depend on a slip of a pen.
func (w *watch) look() {
	g := w.gate
	src, err := readKeys(g.cfg.Keys)
	if err == nil && !bytes.Equal(src, w.last) {
		w.last = src
		var ring *Keyring
		if ring, w.bad = Parse(g.cfg.Keys, src); w.bad == nil {
			w.adopt(ring)
		}
	}
	if err == nil {
		err = w.bad
	}
	g.faulty.Store(err != nil)
	switch now := time.Now(); {
	case err == nil:
		w.next = time.Time{}
	case !now.Before(w.next):
		w.next = now.Add(complainEvery)
		g.cfg.Logger.Error("file of keys is bad: the keys read before stay valid until it is mended", "err", err, "keys", len(g.keys.Load().list()))
	}
}

func (w *watch) adopt(ring *Keyring) {
	before := w.gate.keys.Load()
	ring.follow(before)
	w.gate.keys.Store(ring)
	was, is := before.Names(), ring.Names()
	w.gate.cfg.Logger.Info("keys read", "file", w.gate.cfg.Keys, "keys", len(is), "new", without(is, was), "gone", without(was, is))
}

// without returns what of a is not in b.
func without(a, b []string) (only []string) {
	for _, s := range a {
		if !slices.Contains(b, s) {
			only = append(only, s)
		}
	}
	return only
}
