package offline

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"tailweir/otlp"
)

// readJSON reads values one after the other; place names a line in errors.
func (t reader) readJSON(in *bufio.Reader, place func(line int) string) error {
	values := jsonValues{in: in, line: 1}
	for {
		err := values.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", place(values.line), err)
		}
		if err := t.addJSON(values.value, values.keys); err != nil {
			return fmt.Errorf("%s: %w", place(values.start+faultLine(values.value, err)), err)
		}
	}
}

// faultLine is how many lines into the value its syntax is wrong.
func faultLine(value []byte, err error) int {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return 0
	}
	return bytes.Count(value[:min(len(value), int(syntax.Offset))], []byte{'\n'})
}

// signals is which key makes a request one of what. Profiles are left out as metrics are.
var signals = map[string]otlp.Signal{
	"resourceSpans": otlp.Traces, "resource_spans": otlp.Traces,
	"resourceLogs": otlp.Logs, "resource_logs": otlp.Logs,
	"resourceMetrics": otlp.Metrics, "resource_metrics": otlp.Metrics, "resourceProfiles": otlp.Metrics, "resource_profiles": otlp.Metrics,
}

// fromJSON is the request as protobuf; none of metrics, and neither request nor signal of {}. With more than one signal, or none, in it nobody
// could tell what was left out.
func fromJSON(value []byte, keys []string) (signal otlp.Signal, request []byte, err error) {
	if len(keys) == 0 { // {}, which is a request of nothing, if it is JSON
		_, err := otlp.FromJSON(otlp.Traces, value)
		return 0, nil, err
	}
	found := ""
	for _, key := range keys {
		switch _, known := signals[key]; {
		case known && found != "":
			return 0, nil, fmt.Errorf("has both %s and %s, want one request", found, key)
		case known:
			found = key
		}
	}
	if found == "" {
		return 0, nil, fmt.Errorf("no OTLP request: its first key is %q, want resourceSpans", keys[0])
	}
	if signal = signals[found]; signal == otlp.Metrics {
		if !json.Valid(value) {
			_, _, err = fromJSON(value, nil)
		}
		return signal, nil, err
	}
	request, err = otlp.FromJSON(signal, value)
	return signal, request, err
}

// addJSON adds a request.
func (t *Traces) addJSON(value []byte, keys []string) error {
	signal, request, err := fromJSON(value, keys)
	switch {
	case err != nil || signal == 0:
		return err
	case signal == otlp.Metrics:
		t.Stats.Others++
		return nil
	case signal == otlp.Logs:
		return t.addLogs(request)
	}
	return t.addTraces(request)
}

// jsonValues cuts a stream into its objects. It knows braces and strings, no more: whoever parses the value finds the rest.
type jsonValues struct {
	in    *bufio.Reader
	line  int      // where the reader is, from 1
	value []byte   // the latest object, until the next call
	start int      // its first line
	keys  []string // of it, not those of objects in it; up to 16

	depth           int
	quoted, escaped bool
	named           bool   // the next string is a key, at depth 1
	key             []byte // that is being read
}

// next reads the next object; io.EOF says that there is none.
func (v *jsonValues) next() error {
	if err := v.skipSpace(); err != nil {
		return err
	}
	v.start, v.value, v.keys = v.line, v.value[:0], nil
	for {
		chunk, err := v.in.Peek(max(1, v.in.Buffered()))
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("the JSON value that begins in line %d is %w", v.start, errCutOff)
		}
		if err != nil {
			return err
		}
		n := v.scan(chunk)
		v.value = append(v.value, chunk[:n]...)
		v.line += bytes.Count(chunk[:n], []byte{'\n'})
		_, _ = v.in.Discard(n) // it is buffered
		if v.depth == 0 {
			return nil
		}
		if len(v.value) > maxRequest {
			return fmt.Errorf("the JSON value that begins in line %d is longer than %d bytes", v.start, maxRequest)
		}
	}
}

func (v *jsonValues) skipSpace() error {
	for {
		b, err := v.in.ReadByte()
		if err != nil {
			return err
		}
		switch b {
		case '\n':
			v.line++
		case ' ', '\t', '\r':
		case '{':
			return v.in.UnreadByte()
		default:
			return fmt.Errorf("%q stands between JSON values, want {", b)
		}
	}
}

// scan returns how much of the chunk belongs to the object: depth is 0 at its end.
func (v *jsonValues) scan(chunk []byte) int {
	for i, b := range chunk {
		switch {
		case v.quoted:
			v.inString(b)
		case b == '"':
			v.quoted, v.key = true, v.key[:0]
		case b == '{' || b == '[':
			v.depth++
			v.named = v.depth == 1
		case b == '}' || b == ']':
			if v.depth--; v.depth == 0 {
				return i + 1
			}
		case b == ',':
			v.named = v.depth == 1
		}
	}
	return len(chunk)
}

func (v *jsonValues) inString(b byte) {
	switch {
	case v.escaped:
		v.escaped = false
	case b == '\\':
		v.escaped = true
	case b == '"':
		v.quoted = false
		if v.named && len(v.keys) < 16 {
			v.keys = append(v.keys, string(v.key))
		}
		v.named = false
		return
	}
	if v.named && len(v.key) < 64 {
		v.key = append(v.key, b)
	}
}
