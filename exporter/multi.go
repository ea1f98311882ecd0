package exporter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"tailweir/otlp"
)

// Multi gives every batch to several exporters. Safe for concurrent use.
type Multi struct{ exporters []Exporter }

// All joins exporters that must all confirm a batch.
func All(exporters ...Exporter) *Multi { return &Multi{exporters: exporters} }

// Only limits an exporter to signals; it confirms batches of others without taking them: a backend for traces alone would
// refuse log records for ever.
func Only(e Exporter, signals ...otlp.Signal) Exporter { return only{e, signals} }

type only struct {
	Exporter
	signals []otlp.Signal
}

func (o only) Export(ctx context.Context, b *Batch) error {
	if !slices.Contains(o.signals, b.Signal) {
		return nil
	}
	return o.Exporter.Export(ctx, b)
}

func (o only) Close() error {
	if c, ok := o.Exporter.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Name is the exporters' names joined by "+".
func (m *Multi) Name() string {
	names := make([]string, len(m.exporters))
	for i, e := range m.exporters {
		names[i] = e.Name()
	}
	return strings.Join(names, "+")
}

// Export calls each exporter once, in parallel, and waits for all: one that confirmed is not called again
// while another still retries. It returns nil when all confirmed. Otherwise, the worst outcome wins: an error
// to try again later, then a PermanentError, then a PartialError. After "try again later" the caller
// exports again to all of them; that is the price of at-least-once without a record per exporter.
func (m *Multi) Export(ctx context.Context, b *Batch) error {
	errs := make([]error, len(m.exporters))
	var wg sync.WaitGroup
	for i, e := range m.exporters {
		wg.Go(func() {
			if err := e.Export(ctx, b); err != nil {
				errs[i] = fmt.Errorf("%s: %w", e.Name(), err)
			}
		})
	}
	wg.Wait()
	return combine(b, errs)
}

func combine(b *Batch, errs []error) error {
	var transient, permanent []error
	var refused *PermanentError
	var partial *PartialError
	for _, err := range errs {
		pe, isPermanent := errors.AsType[*PermanentError](err)
		some, isPartial := errors.AsType[*PartialError](err)
		switch {
		case err == nil:
			continue
		case !isPermanent && !isPartial:
			transient = append(transient, err)
		case isPermanent:
			permanent = append(permanent, err)
			refused = mergeRefused(b, refused, pe)
		}
		if isPartial {
			partial = mergePartial(partial, some)
		}
	}
	switch {
	case transient != nil:
		// The others' verdicts are told as text only, so that nobody settles by them.
		return textOf(transient, permanent)
	case permanent != nil:
		refused.Err = errors.New(joinText(permanent))
		if partial != nil {
			return errors.Join(refused, partial)
		}
		return refused
	case partial != nil:
		return partial
	}
	return nil
}

// mergeRefused: what any exporter refused is refused.
func mergeRefused(b *Batch, have, more *PermanentError) *PermanentError {
	if have == nil {
		return &PermanentError{Refused: more.Refused}
	}
	if have.Refused == nil || more.Refused == nil {
		return &PermanentError{}
	}
	return &PermanentError{Refused: mergeRefusals(b, slices.Concat(have.Refused, more.Refused))}
}

// mergePartial keeps the greater count: backends that reject do so by the same rules for the same items more
// often than not, so that a sum would count them twice.
func mergePartial(have, more *PartialError) *PartialError {
	if have == nil {
		return more
	}
	return &PartialError{Rejected: max(have.Rejected, more.Rejected), Msg: Clip(have.Msg + "; " + more.Msg)}
}

func textOf(transient, permanent []error) error {
	err := errors.Join(transient...)
	if permanent == nil {
		return err
	}
	return fmt.Errorf("%w; also %s", err, joinText(permanent))
}

func joinText(errs []error) string {
	text := make([]string, len(errs))
	for i, err := range errs {
		text[i] = err.Error()
	}
	return strings.Join(text, "; ")
}
