package offline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// Write writes a line of JSON for each verdict. The writer should be buffered.
func Write(w io.Writer, verdicts []Verdict) error {
	var line []byte
	for i := range verdicts {
		line = appendLine(line[:0], &verdicts[i])
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}

func appendLine(b []byte, v *Verdict) []byte {
	decision := "drop"
	if v.Decision.Keep {
		decision = "keep"
	}
	b = append(append(b, `{"trace_id":"`...), v.Trace.String()...)
	b = append(append(b, `","decision":"`...), decision...)
	b = append(append(b, `","policy":`...), quoted(v.Decision.Policy)...)
	b = strconv.AppendUint(append(b, `,"spans":`...), uint64(v.Facts.Spans), 10)
	b = appendMilliseconds(append(b, `,"duration_ms":`...), v.Facts.Duration())
	if v.Reasons != nil {
		b = append(append(b, `,"explain":`...), quoted(v.Reasons)...)
	}
	return append(b, '}', '\n')
}

// quoted is v as JSON for people: < and > are left as they are.
func quoted(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // texts and structs of texts: they cannot fail
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
}

// appendMilliseconds writes all nanoseconds of d, which a float64 does not hold.
func appendMilliseconds(b []byte, d time.Duration) []byte {
	b = strconv.AppendInt(b, d.Milliseconds(), 10)
	if rest := d % time.Millisecond; rest != 0 {
		b = append(b, bytes.TrimRight(fmt.Appendf(nil, ".%06d", rest), "0")...)
	}
	return b
}

// Summary is what policies kept and dropped, in the order of the file.
type Summary struct {
	Kept, Dropped []Row // Dropped by drop policies, and "" last: no policy kept them
}

// Row is the traces of one policy.
type Row struct {
	Policy               string
	Traces, Spans, Bytes uint64
}

func (r *Row) add(o Row) {
	r.Traces, r.Spans, r.Bytes = r.Traces+o.Traces, r.Spans+o.Spans, r.Bytes+o.Bytes
}

// Summarize adds up the verdicts; policies has the names in the order of the rows.
func Summarize(verdicts []Verdict, policies []string) Summary {
	kept, dropped := map[string]*Row{}, map[string]*Row{}
	for i := range verdicts {
		v := &verdicts[i]
		rows := dropped
		if v.Decision.Keep {
			rows = kept
		}
		if rows[v.Decision.Policy] == nil {
			rows[v.Decision.Policy] = &Row{Policy: v.Decision.Policy}
		}
		rows[v.Decision.Policy].add(Row{Traces: 1, Spans: uint64(v.Facts.Spans), Bytes: v.Facts.Bytes})
	}
	var s Summary
	for _, name := range append(policies, "") {
		if r := kept[name]; r != nil {
			s.Kept = append(s.Kept, *r)
		}
		if r := dropped[name]; r != nil {
			s.Dropped = append(s.Dropped, *r)
		}
	}
	return s
}

const noPolicy = "kept by no policy"

// Print writes the table for people.
func (s Summary) Print(w io.Writer) error {
	kept, dropped := Row{}, Row{}
	for _, r := range s.Kept {
		kept.add(r)
	}
	for _, r := range s.Dropped {
		dropped.add(r)
	}
	all := kept
	all.add(dropped)
	width := len(noPolicy)
	for _, r := range append(s.Kept, s.Dropped...) {
		width = max(width, utf8.RuneCountInString("dropped by "+r.Policy))
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	row := func(cells ...any) { fmt.Fprintf(t, "%-*s\t%v\t%v\t%v\t%s\t%s\t\n", append([]any{width}, cells...)...) }
	line := func(name string, r Row) {
		row(name, r.Traces, r.Spans, r.Bytes, share(r.Traces, all.Traces), share(r.Spans, all.Spans))
	}
	row("", "traces", "spans", "bytes", "of traces", "of spans")
	for _, r := range s.Kept {
		line("kept by "+r.Policy, r)
	}
	for _, r := range s.Dropped {
		if r.Policy == "" {
			line(noPolicy, r)
			continue
		}
		line("dropped by "+r.Policy, r)
	}
	line("kept", kept)
	line("dropped", dropped)
	line("total", all)
	return t.Flush()
}

func share(part, whole uint64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}
