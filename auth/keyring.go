package auth

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"tailweir/otlp"
	"tailweir/strictyaml"
)

// Entry is a key as the file has it: an element of a list.
type Entry struct {
	Name       string            `yaml:"name,required"` // says in logs and metrics whose key was used
	Hash       string            `yaml:"hash,required"` // HashOf the key
	Attributes map[string]string `yaml:"attributes"`    // put on each resource of what is sent with it
	Limit      Limit             `yaml:"limit"`
	Until      Moment            `yaml:"until"` // not valid from then on; zero: for ever
}

// Limit bounds what is sent with one key to one ingest, over some seconds. Zero: unbounded.
type Limit struct {
	Requests int             `yaml:"requests"` // per second
	Bytes    strictyaml.Size `yaml:"bytes"`    // per second, of bodies as they come
}

// YAML returns the entry as a list of one, to be put behind others.
func (e Entry) YAML() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "- name: %s\n  hash: %s\n", quoted(e.Name), e.Hash)
	sep := "  attributes: {"
	for _, k := range slices.Sorted(maps.Keys(e.Attributes)) {
		fmt.Fprintf(&b, "%s%s: %s", sep, quoted(k), quoted(e.Attributes[k]))
		sep = ", "
	}
	if len(e.Attributes) > 0 {
		b.WriteString("}\n")
	}
	switch l := e.Limit; {
	case l.Requests != 0 && l.Bytes != 0:
		fmt.Fprintf(&b, "  limit: {requests: %d, bytes: %s}\n", l.Requests, l.Bytes)
	case l.Requests != 0:
		fmt.Fprintf(&b, "  limit: {requests: %d}\n", l.Requests)
	case l.Bytes != 0:
		fmt.Fprintf(&b, "  limit: {bytes: %s}\n", l.Bytes)
	}
	if !e.Until.IsZero() {
		fmt.Fprintf(&b, "  until: %s\n", e.Until.Format(time.RFC3339))
	}
	return b.Bytes()
}

// quoted is a string as JSON, which is YAML, too.
func quoted(s string) string {
	b, _ := json.Marshal(s) // strings always marshal
	return string(b)
}

// ParseMoment reads a date, which is its beginning in UTC, or an RFC 3339 time.
func ParseMoment(s string) (Moment, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil && !t.IsZero() {
			return Moment{t}, nil
		}
	}
	return Moment{}, errors.New("is no time, want a date such as 2027-03-31, or 2027-03-31T18:00:00Z")
}

// Moment is a time in the file; see ParseMoment.
type Moment struct{ time.Time }

// UnmarshalStrict implements strictyaml.Unmarshaler.
func (m *Moment) UnmarshalStrict(d *strictyaml.Decoder, n *yaml.Node, path string) {
	t, err := ParseMoment(n.Value) // of what is no scalar the value is empty
	if err != nil {
		d.Faultf(path, "%v", err)
		return
	}
	*m = t
}

// Keyring is the keys of a file. A nil one has none.
type Keyring struct {
	keys   []*key // as in the file
	byHash map[[hashHead]byte]*key
}

// hashHead is how much of a hash finds a key. Two keys whose hashes begin so alike are refused as the same.
const hashHead = 8

type key struct {
	hash   [sha256.Size]byte
	until  time.Time
	caller Caller
	use    *use
}

const (
	mostKeys      = 10_000
	mostKeysBytes = 8 << 20
)

var keyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Parse reads a file of keys: a YAML list of Entry. All that is wrong with it is in the error, a line each with line and column, and
// without any key that may stand there by mistake. A file without keys is wrong, too: it is what is left of one half written.
func Parse(file string, src []byte) (*Keyring, error) {
	d := strictyaml.NewDecoder(file)
	var entries []Entry
	if top := d.Document(src); top != nil {
		d.Decode(top, "", &entries)
	}
	ring := &Keyring{byHash: map[[hashHead]byte]*key{}}
	if d.Err() == nil {
		ring.fill(d, entries)
	}
	if err := d.Err(); err != nil {
		return nil, errors.New(withoutKeys(err.Error()))
	}
	return ring, nil
}

func (r *Keyring) fill(d *strictyaml.Decoder, entries []Entry) {
	if n := len(entries); n == 0 || n > mostKeys {
		d.Faultf("", "has %d keys, want 1 to %d; tailweir key new makes one", n, mostKeys)
		return
	}
	names := map[string]bool{}
	for i, e := range entries {
		k, at := e.check(d, fmt.Sprintf("[%d]", i))
		if k == nil {
			continue
		}
		head := [hashHead]byte(k.hash[:])
		if names[e.Name] {
			d.Faultf(at+".name", "%s is given twice; during a rotation both keys are there under names of their own", e.Name)
		} else if r.byHash[head] != nil {
			d.Faultf(at+".hash", "is that of %s", r.byHash[head].caller.Name)
		}
		names[e.Name], r.byHash[head] = true, k
		r.keys = append(r.keys, k)
	}
}

// check returns the entry as a key, or nil after a fault, and its path.
func (e Entry) check(d *strictyaml.Decoder, at string) (*key, string) {
	faults := d.Count()
	if strings.HasPrefix(e.Name, keyPrefix) || !keyName.MatchString(e.Name) {
		d.Faultf(at+".name", "want 1 to 63 letters, digits and ._-, beginning with a letter or digit, and no key")
	}
	k := &key{until: e.Until.Time}
	sum, err := hex.DecodeString(strings.TrimPrefix(e.Hash, hashPrefix))
	switch {
	case strings.HasPrefix(e.Hash, keyPrefix):
		d.Faultf(at+".hash", "is a key: it must not stand in a file. Make another, with tailweir key new")
	case err != nil || len(sum) != len(k.hash) || !strings.HasPrefix(e.Hash, hashPrefix):
		d.Faultf(at+".hash", "want %s and 64 hex digits, as tailweir key new prints it", hashPrefix)
	default:
		copy(k.hash[:], sum)
	}
	if e.Limit.Requests < 0 || e.Limit.Requests > 1_000_000 {
		d.Faultf(at+".limit.requests", "%d is out of bounds, want 1 to 1000000 per second", e.Limit.Requests)
	}
	if e.Limit.Bytes > 1<<40 {
		d.Faultf(at+".limit.bytes", "%v is out of bounds, want 1TiB per second at most", e.Limit.Bytes)
	}
	if len(e.Attributes) > 16 {
		d.Faultf(at+".attributes", "are %d, want 16 at most: each resource gets them all", len(e.Attributes))
	}
	for name, value := range e.Attributes {
		if name == "" || len(name) > 128 || len(value) > 256 {
			d.Faultf(at+".attributes", "want names of 1 to 128 bytes and values of 256 at most")
		}
	}
	if d.Count() > faults {
		return nil, at
	}
	k.use = newUse(e.Limit)
	k.caller = Caller{Name: e.Name, Stamp: otlp.NewStamp(e.Attributes), Sent: k.use.sent}
	return k, at
}

// find returns the key, or nil. shown isKey.
func (r *Keyring) find(shown string) *key {
	if r == nil {
		return nil
	}
	hash := hashOf(shown)
	k := r.byHash[[hashHead]byte(hash[:])]
	if k == nil || subtle.ConstantTimeCompare(k.hash[:], hash[:]) != 1 {
		return nil
	}
	return k
}

func (r *Keyring) list() []*key {
	if r == nil {
		return nil
	}
	return r.keys
}

func (k *key) expired(now time.Time) bool { return !k.until.IsZero() && !now.Before(k.until) }

// Entries returns what the file says of its keys but for their hashes and attributes, in its order.
func (r *Keyring) Entries() []Entry {
	var all []Entry
	for _, k := range r.list() {
		all = append(all, Entry{Name: k.caller.Name, Limit: k.use.limit, Until: Moment{k.until}})
	}
	return all
}

// Names returns the names of the keys, in the order of the file.
func (r *Keyring) Names() []string {
	var names []string
	for _, k := range r.list() {
		names = append(names, k.caller.Name)
	}
	return names
}

// Whose returns the name of a key, and until when it is valid, zero for ever. Spaces around it do not count. ok is false when it is not
// in the file.
func (r *Keyring) Whose(shown string) (name string, until time.Time, ok bool) {
	shown = strings.TrimSpace(shown)
	if !isKey(shown) {
		return "", time.Time{}, false
	}
	k := r.find(shown)
	if k == nil {
		return "", time.Time{}, false
	}
	return k.caller.Name, k.until, true
}

// follow takes over what was counted under the same names, and the state of limits that are the same. It comes before the keyring is used.
func (r *Keyring) follow(before *Keyring) {
	was := map[string]*key{}
	for _, k := range before.list() {
		was[k.caller.Name] = k
	}
	for _, k := range r.keys {
		b := was[k.caller.Name]
		switch {
		case b == nil:
		case b.use.limit == k.use.limit:
			k.use, k.caller.Sent = b.use, b.use.sent
		default:
			k.use.counts = b.use.counts
		}
	}
}

func readKeys(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, mostKeysBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("keys: %w", err)
	case len(src) > mostKeysBytes:
		return nil, fmt.Errorf("keys: %s has more than %d bytes", file, mostKeysBytes)
	}
	return src, nil
}

// Load reads and parses a file of keys.
func Load(file string) (*Keyring, error) {
	src, err := readKeys(file)
	if err != nil {
		return nil, err
	}
	return Parse(file, src)
}
