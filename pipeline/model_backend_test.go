package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"tailweir/exporter"
	"tailweir/otlp"
)

// topic is the dead-letter topic.
type topic struct{ l *life }

func (t topic) Publish(ctx context.Context, data []byte, attrs map[string]string) error {
	w := t.l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case t.l.gone:
		return context.Canceled
	case ctx.Err() != nil: // as a client does: nobody would know of the letter
		return ctx.Err()
	case w.dead.kind == "fails":
		return errors.New("the dead-letter topic is away")
	case w.dead.kind == "hangs":
		w.mu.Unlock()
		<-ctx.Done()
		w.mu.Lock()
		return ctx.Err()
	}
	w.judgeLetterLocked(t.l, data, maps.Clone(attrs))
	return nil
}

func (*life) Name() string { return "model" }

// Export is the backend. It retries by itself as exporters do, in most of the ways to be away.
func (l *life) Export(ctx context.Context, b *exporter.Batch) error {
	w := l.w
	for {
		if err := sleep(ctx, time.Millisecond); err != nil { // or a pipeline that repeats itself would stop the bubble's time
			return err
		}
		w.mu.Lock()
		kind, n := w.export.kind, w.export.n
		pause := time.Duration(w.rng.IntN(300)) * time.Millisecond
		w.mu.Unlock()
		switch kind {
		case "":
			return l.accept(b, nil, nil)
		case "slow":
			if err := sleep(ctx, pause); err != nil {
				return err
			}
			return l.accept(b, nil, nil)
		case "answers late":
			if err := l.accept(b, nil, nil); err != nil {
				return err
			}
			err := sleep(ctx, pause)
			if err != nil {
				l.unheard(b)
			}
			return err
		case "fails":
			if err := sleep(ctx, pause); err != nil {
				return err
			}
			return errors.New("503")
		case "away":
			if err := sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		case "partial":
			return l.accept(b, nil, &exporter.PartialError{Rejected: 1, Msg: "no"})
		case "names":
			return l.accept(b, refusedParts(b, n), nil)
		case "refuses":
			if refused := refusedParts(b, n); refused != nil {
				if len(b.Parts) == 1 {
					l.refuse(b.Parts[0])
				}
				return &exporter.PermanentError{Err: errors.New("400")}
			}
			return l.accept(b, nil, nil)
		}
	}
}

// unheard takes an export that was accepted, but cut off before its answer, from what the pipeline can know of.
func (l *life) unheard(b *exporter.Batch) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if b.Signal == otlp.Logs {
		l.account.confirmed.Logs -= int64(b.Items)
	} else {
		l.account.confirmed.Spans -= int64(b.Items)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refusedParts are the parts of trace n; n = 0 refuses everything. Of every third trace it is every other item.
func refusedParts(b *exporter.Batch, n byte) (refused []exporter.Refusal) {
	for i, p := range b.Parts {
		if n != 0 && p.Trace != (item{trace: n}).traceID() {
			continue
		}
		r := exporter.Refusal{Part: i, Reason: exporter.ReasonRejected, Err: errors.New("400")}
		if n%3 == 1 {
			for at := 0; at < p.Items && p.Items > 1; at += 2 {
				r.Items, r.Reason = append(r.Items, at), exporter.ReasonAge
			}
		}
		refused = append(refused, r)
	}
	return refused
}

// accept takes a batch into the backend without the refused parts, and answers.
func (l *life) accept(b *exporter.Batch, refused []exporter.Refusal, partial error) error {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.gone {
		return errors.New("connection closed")
	}
	j, end := &l.w.judge, 0
	for i, part := range b.Parts {
		if part.Off != end || part.Reason == "" {
			j.fault("part %d of a batch: %+v, want it at %d", i, part, end)
		}
		end = part.Off + part.Len
		at := slices.IndexFunc(refused, func(r exporter.Refusal) bool { return r.Part == i })
		if at < 0 {
			l.acceptPartLocked(b, part, nil)
			continue
		}
		j.refused[part.Trace] = true
		if without := refused[at].Items; without != nil {
			l.acceptPartLocked(b, part, without)
		}
	}
	if end != len(b.Payload) {
		j.fault("parts end at %d of %d bytes", end, len(b.Payload))
	}
	if refused == nil {
		return partial
	}
	return &exporter.PermanentError{Err: errors.New("400"), Refused: refused}
}

func (l *life) refuse(p exporter.Part) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.judge.refused[p.Trace] = true
}

func (l *life) acceptPartLocked(b *exporter.Batch, part exporter.Part, without []int) {
	j, n := &l.w.judge, 0
	var keys []uint64
	err := decodeItems(b.Payload[part.Off:part.Off+part.Len], func(resource, scope, body []byte) {
		n++
		if slices.Contains(without, n-1) {
			return
		}
		key, kept := plainKey(j, b.Signal, resource, scope, body)
		x, known := j.items[key]
		if !known || x.traceID() != part.Trace {
			j.fault("exported with trace %s what nobody published: %q", part.Trace, body)
			return
		}
		j.exported[key]++
		l.account.confirmed.add(one(x))
		l.account.out[key] = true
		if j.exported[key] > j.bound[key] || (!x.log && slices.Contains(keys, key)) {
			j.fault("%+v is exported for the %d. time, want at most %d", x, j.exported[key], j.bound[key])
		}
		keys = append(keys, key)
		if why := l.mayLeaveLocked(x, kept); why != "" {
			j.fault("%+v exported: %s", x, why)
		}
		if want := x.counted(l.thresholds[part.Trace]); !x.log && !hasState(body, want) {
			j.fault("%+v exported with the states %q, want %q: %q", x, states(body), want, body)
		}
		if keep := l.verdicts[part.Trace]; part.Kept != keep && x.trace != 0 && !(x.log && (l.orphans[part.Trace] || !l.w.waits(x))) {
			j.fault("part of trace %s says kept: %v", part.Trace, part.Kept)
		}
	})
	if err != nil || n != part.Items || n == 0 {
		j.fault("part of trace %s has %d items, says %d: %v", part.Trace, n, part.Items, err)
	}
}

// hasState reports whether a span has the tracestate and no other; "" is none.
func hasState(body []byte, want string) bool {
	got := states(body)
	return want == "" && len(got) == 0 || len(got) == 1 && got[0] == want
}

func states(body []byte) []string {
	_, all := takeState(body)
	return all
}

// plainKey is the key of an exported item without the attribute that says whether a record's trace was kept, and its value.
func plainKey(j *judge, s otlp.Signal, resource, scope, body []byte) (key uint64, kept string) {
	for _, v := range []bool{true, false} {
		plain, found := bytes.CutSuffix(body, otlp.BoolAttributeField(otlp.Logs, otlp.AttrKept, v))
		if found && s == otlp.Logs {
			return keyOf(s, resource, scope, plain), fmt.Sprint(v)
		}
	}
	return keyOf(s, resource, scope, body), ""
}

// mayLeaveLocked says why an item must not be exported now with this attribute, "" when it may.
func (l *life) mayLeaveLocked(x item, kept string) string {
	keep, decided := l.verdicts[x.traceID()]
	switch {
	case x.log && l.w.fate(x) == LogsNever:
		return "it was to be dropped"
	case x.trace == 0 && x.log:
		if kept != "" {
			return "a record without a trace says kept: " + kept
		}
	case x.trace == 0:
		return "it has no trace id"
	case x.log && !l.w.waits(x):
		if kept != "" {
			return "a record that waits for nothing says kept: " + kept
		}
	case x.log && kept == "":
		if !l.orphans[x.traceID()] || l.w.orphans == LogsNever {
			return "a record does not say whether its trace was kept"
		}
	case !decided:
		return "its trace is not decided"
	case x.log:
		if kept != fmt.Sprint(keep) || (!keep && l.w.fate(x) == LogsWithTrace) {
			return fmt.Sprintf("its trace's verdict is %v, it says kept: %s", keep, kept)
		}
	case !keep:
		return "its trace was dropped"
	}
	return ""
}

// judgeLetterLocked takes a dead letter.
func (w *world) judgeLetterLocked(l *life, data []byte, attrs map[string]string) {
	j, reason := &w.judge, attrs[AttrReason]
	if attrs[AttrError] == "" {
		j.fault("dead letter without %s", AttrError)
	}
	delete(attrs, AttrReason)
	delete(attrs, AttrError)
	if reason == ReasonUndecodable {
		p := j.payloads[xxhash.Sum64(data)]
		if p == nil || p.good || !maps.Equal(p.attrs, attrs) {
			j.fault("dead letter %q with %v is none, or with other attributes", data, attrs)
			return
		}
		if p.letters++; p.letters > p.reads {
			j.fault("%d dead letters of %d deliveries", p.letters, p.reads)
		}
		return
	}
	signal, _ := otlp.SignalOf(attrs[otlp.AttrType])
	if len(attrs) != 2 || attrs[otlp.AttrContentType] != otlp.ContentTypeProtobuf {
		j.fault("dead letter with %v", attrs)
	}
	err := decodeItems(data, func(resource, scope, body []byte) {
		key, kept := plainKey(j, signal, resource, scope, body)
		x, known := j.items[key]
		invalid := x.trace == 0 && !x.log
		switch {
		case known && !x.log && !hasState(body, x.state()):
			j.fault("dead letter of %+v with the states %q", x, states(body))
		case !known, reason != ReasonInvalidID && reason != ReasonRejected && reason != ReasonAge, (reason == ReasonInvalidID) != invalid:
			j.fault("dead letter of %+v, reason %s: %q", x, reason, body)
		case reason != ReasonInvalidID && !j.refused[x.traceID()]:
			j.fault("dead letter of %+v, which no backend refused", x)
		case reason != ReasonInvalidID:
			if why := l.mayLeaveLocked(x, kept); why != "" {
				j.fault("dead letter of %+v: %s", x, why)
			}
		}
		j.letters[key]++
		l.account.lettered.add(one(x))
		l.account.out[key] = true
	})
	if err != nil {
		j.fault("dead letter: %v", err)
	}
}
