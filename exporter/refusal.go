package exporter

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Reasons of a refusal: the attribute tailweir.reason of the dead letter that it becomes.
const (
	ReasonRejected = "rejected" // the backend said that it will never take it
	ReasonAge      = "age"      // its time is too far back, or ahead, for the backend
	ReasonLimit    = "limit"    // it cannot be made to fit a limit of the backend
)

// Refusal names items of one part that a backend will never take.
type Refusal struct {
	Part   int   // index in Batch.Parts
	Items  []int // indexes within the part, in the order of the payload, ascending; nil: all of it
	Alone  bool  // with all of it: each item was refused by itself, so that smaller pieces need not be tried
	Reason string
	Err    error // what was said, see Clip
}

// PermanentError says that the backend will never take the batch, or some of it: that is for the dead-letter topic.
type PermanentError struct {
	Err error

	// Refused names what was refused, ascending by part, one for each; what it does not name was confirmed. nil means that the
	// batch was refused as one, so that some of it may pass alone.
	Refused []Refusal
}

func (e *PermanentError) Error() string { return e.Err.Error() }
func (e *PermanentError) Unwrap() error { return e.Err }

// maxCauses bounds the reasons that an error tells of all refusals: more than one is rare, and a dead letter's
// attribute (1024 bytes) has room for two or three.
const maxCauses = 3

// Refuse returns the PermanentError of refusals, in any order and several of one part; nil when there are none.
func Refuse(b *Batch, refused []Refusal) error {
	if len(refused) == 0 {
		return nil
	}
	var causes []string
	for _, r := range refused {
		if text := r.Err.Error(); len(causes) < maxCauses && !slices.Contains(causes, text) {
			causes = append(causes, text)
		}
	}
	return &PermanentError{
		Err:     fmt.Errorf("export %s to %s", b.Signal, strings.Join(causes, "; ")),
		Refused: mergeRefusals(b, refused),
	}
}

// lostOf is how many items of the batch the exporter does not have, by what Export returned.
func lostOf(b *Batch, err error) (n int) {
	permanent, isPermanent := errors.AsType[*PermanentError](err)
	partial, isPartial := errors.AsType[*PartialError](err)
	if isPartial {
		n = partial.Rejected
	}
	switch {
	case isPermanent && permanent.Refused != nil:
		for _, r := range permanent.Refused {
			n += r.count(b)
		}
		return n
	case isPermanent, err != nil && !isPartial:
		return b.Items
	}
	return n
}

// count is how many items are refused.
func (r *Refusal) count(b *Batch) int {
	if r.Items == nil && r.Part < len(b.Parts) {
		return b.Parts[r.Part].Items
	}
	return len(r.Items)
}

// mergeRefusals makes one refusal of all those of a part. The reason is that of the first; all items are a part.
func mergeRefusals(b *Batch, all []Refusal) []Refusal {
	slices.SortStableFunc(all, func(x, y Refusal) int { return cmp.Compare(x.Part, y.Part) })
	var out []Refusal
	for _, r := range all {
		if len(out) == 0 || out[len(out)-1].Part != r.Part {
			out = append(out, r)
			continue
		}
		if last := &out[len(out)-1]; last.Items == nil || r.Items == nil {
			last.Items, last.Alone = nil, last.Alone || r.Alone
		} else {
			last.Items = slices.Concat(last.Items, r.Items)
		}
	}
	for i := range out {
		r := &out[i]
		slices.Sort(r.Items)
		r.Items = slices.Compact(r.Items)
		if r.Part < len(b.Parts) && len(r.Items) == b.Parts[r.Part].Items {
			r.Items, r.Alone = nil, true
		}
	}
	return out
}

// Halve has n pieces of data delivered by send, all together at first. Where that is refused, halves are sent, until those
// at fault stand alone, and refused is called for each of them: 2 log n requests where one is at fault, and not many more
// than n where all are. Fewer it cannot be, since nobody is refused who was not refused alone: what thousands were refused
// for may not be what is wrong with the next. An error of send that is no *Fault, or a Fault that is held, ends it and is
// returned.
func Halve(n int, send func(first, end int) error, refused func(i int, f *Fault)) error {
	h := halver{send: send, refused: refused}
	return h.halve(0, n)
}

type halver struct {
	send    func(first, end int) error
	refused func(i int, f *Fault)
	streak  int // of pieces refused alone since some were taken
}

// likely is how many pieces, refused alone one after the other, make it likely that the next ones are too: then they are sent
// alone at once, until one is taken.
const likely = 8

func (h *halver) halve(first, end int) error {
	if first == end {
		return nil
	}
	middle := (first + end) / 2
	if end-first > 1 && h.streak >= likely {
		return h.both(first, middle, end)
	}
	err := h.send(first, end)
	f, isFault := errors.AsType[*Fault](err)
	switch {
	case err == nil:
		h.streak = 0
		return nil
	case !isFault || f.Verdict.held():
		return err
	case f.Verdict == Refused && end-first > 1:
		return h.both(first, middle, end)
	}
	h.streak++
	for i := first; i < end; i++ {
		h.refused(i, f)
	}
	return nil
}

func (h *halver) both(first, middle, end int) error {
	if err := h.halve(first, middle); err != nil {
		return err
	}
	return h.halve(middle, end)
}
