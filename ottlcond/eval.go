package ottlcond

import (
	"context"
	"fmt"
	"strings"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottlspan"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottlspanevent"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// EvalError is a condition that failed on a span or an event.
type EvalError struct {
	List  string // Spans or Events
	Index int    // of the condition in its list
	Text  string // the condition
	Err   error  // OTTL's; its text may hold what the span holds, at any length
}

// Error names the condition and gives at most 300 bytes of the cause.
func (e *EvalError) Error() string {
	cause := e.Err.Error()
	if len(cause) > maxMessage {
		cause = strings.ToValidUTF8(cause[:maxMessage], "") + "…"
	}
	return fmt.Sprintf("ottl condition %s[%d] %s: %s", e.List, e.Index, e.Text, cause)
}

// Unwrap returns OTTL's error.
func (e *EvalError) Unwrap() error { return e.Err }

// Eval evaluates the condition on span i of the decoder's payload: the conditions on spans, then those on events for each
// of its events, until one is true. The error is an *EvalError in mode Propagate, after which nothing more of the span is
// evaluated; in all modes it is another when the span cannot be decoded.
func (c *Condition) Eval(d *Decoder, i int32) (bool, error) {
	s, err := d.span(c, i)
	if err != nil {
		return false, err
	}
	if ok, err := c.evalSpan(d, s); ok || err != nil {
		return ok, err
	}
	if len(c.events) == 0 {
		return false, nil
	}
	for e := range s.span.Events().Len() {
		if ok, err := c.evalEvent(d, s, s.span.Events().At(e)); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func (c *Condition) evalSpan(d *Decoder, s decoded) (bool, error) {
	if len(c.spans) == 0 {
		return false, nil
	}
	t := ottlspan.NewTransformContext(s.resource, s.scope, s.span)
	defer t.Close()
	return anyTrue(c.mode, d, Spans, c.spans, t)
}

func (c *Condition) evalEvent(d *Decoder, s decoded, e ptrace.SpanEvent) (bool, error) {
	t := ottlspanevent.NewTransformContext(s.resource, s.scope, s.span, e)
	defer t.Close()
	return anyTrue(c.mode, d, Events, c.events, t)
}

// anyTrue is OTTL's ConditionSequence, which has nothing but a logger to report an ignored error to.
func anyTrue[K any](mode Mode, d *Decoder, list string, conditions []condition[K], t K) (bool, error) {
	for i := range conditions {
		c := &conditions[i]
		ok, err := c.eval(t)
		switch {
		case err == nil && ok:
			return true, nil
		case err == nil || mode == Silent:
			continue
		}
		failed := &EvalError{list, i, c.text, err}
		if mode == Propagate {
			return false, failed
		}
		if d.Ignored != nil {
			d.Ignored(failed)
		}
	}
	return false, nil
}

func (c *condition[K]) eval(t K) (ok bool, err error) {
	defer recovered(&err)
	return c.Eval(context.Background(), t)
}
