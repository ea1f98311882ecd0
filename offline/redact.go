package offline

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"tailweir/otlp"
	"tailweir/redact"
)

// Redaction applies rules to the requests in files, as the ingest does to those that apps send. Not safe for concurrent use.
type Redaction struct {
	// Others is how many requests of metrics or profiles were left out, Requests how many others there were.
	Others, Requests int

	rules   *redact.Rules
	out     io.Writer
	form    form
	payload otlp.Payload
	seen    map[string]map[string]int // rule → place → how often
}

// form is how requests are written.
type form string

const (
	asLines  form = "JSON"
	asFrames form = "protobuf with lengths"
	asOne    form = "protobuf"
)

// NewRedaction returns one that writes to out what is read: JSON as one line for each request, protobuf as it came, alone or with a
// length before each request.
func NewRedaction(rules *redact.Rules, out io.Writer) *Redaction {
	return &Redaction{rules: rules, out: out, seen: map[string]map[string]int{}}
}

// Read reads one file to its end, and writes it. Errors begin with name and the place.
func (r *Redaction) Read(name string, in io.Reader) error {
	err := reader{r}.read(name, in)
	if errors.Is(err, redact.ErrRedact) {
		return fmt.Errorf("%w; what was written before it is whole", err)
	}
	return err
}

func (r *Redaction) addJSON(value []byte, keys []string) error {
	signal, request, err := fromJSON(value, keys)
	switch {
	case err != nil || signal == 0:
		return err
	case signal == otlp.Metrics:
		r.Others++
		return nil
	}
	out, err := r.apply(signal, request)
	if err != nil {
		return err
	}
	line, err := otlp.ToJSON(signal, out)
	if err != nil {
		return err
	}
	return r.write(asLines, append(line, '\n'))
}

func (r *Redaction) addProto(request []byte, framed bool) error {
	signal, err := signalOf(&r.payload, request)
	if err != nil {
		return err
	}
	out, err := r.apply(signal, request)
	if err != nil || !framed {
		return cmp.Or(err, r.write(asOne, out))
	}
	if err := r.write(asFrames, binary.BigEndian.AppendUint32(nil, uint32(len(out)))); err != nil {
		return err
	}
	return r.write(asFrames, out)
}

func (r *Redaction) apply(signal otlp.Signal, request []byte) ([]byte, error) {
	r.Requests++
	return r.rules.Watch(signal, request, func(s redact.Sighting) {
		places := r.seen[s.Rule]
		if places == nil {
			places = map[string]int{}
			r.seen[s.Rule] = places
		}
		where := redact.NameOf(s.At)
		if s.Key != "" {
			where += " " + s.Key
		}
		if _, known := places[where]; !known && len(places) == maxPlaces {
			where = "elsewhere"
		}
		places[where]++
	})
}

// maxPlaces bounds the places remembered of a rule: keys can be made up.
const maxPlaces = 1000

var errForms = errors.New("stands in another form than what was written before: redact JSON, protobuf, and each protobuf without lengths by itself")

// write refuses what a reader of the output could not tell apart.
func (r *Redaction) write(as form, b []byte) error {
	if r.form != "" && (r.form != as || as == asOne) {
		return errForms
	}
	r.form = as
	_, err := r.out.Write(b)
	return err
}

// shownPlaces is how many places the report names of a rule.
const shownPlaces = 5

// Print writes the report: what each rule did, and where most, never with a value.
func (r *Redaction) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "rule\taction\tmatches\titems\twhere")
	for _, c := range r.rules.Stats().Rules {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\n", c.Rule, c.Action, c.Matches, c.Items, r.places(c.Rule))
	}
	return t.Flush()
}

func (r *Redaction) places(rule string) string {
	seen := r.seen[rule]
	names := slices.SortedFunc(maps.Keys(seen), func(a, b string) int {
		return cmp.Or(cmp.Compare(seen[b], seen[a]), strings.Compare(a, b))
	})
	var shown []string
	for _, name := range names[:min(len(names), shownPlaces)] {
		shown = append(shown, fmt.Sprintf("%s (%d)", printable(name), seen[name]))
	}
	if more := len(names) - shownPlaces; more > 0 {
		shown = append(shown, fmt.Sprintf("%d more places", more))
	}
	return strings.Join(shown, ", ")
}

// printable is a key as a terminal can bear it.
func printable(s string) string {
	const most = 80
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c == utf8.RuneError || c == 0x7f {
			return '?'
		}
		return c
	}, s)
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return s
}
