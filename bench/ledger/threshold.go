package ledger

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// count notes what a span says of how many it stands for. The load gives no span a tracestate, so all that can be there is
// `ot=th:` and the threshold of a probability below 1 that did not exclude the trace (OTEP-235), the same in all its spans.
func (e *entry) count(trace, state []byte) {
	th, ok := parseThreshold(string(state))
	random := int64(binary.BigEndian.Uint64(trace[8:]) & (1<<56 - 1))
	switch {
	case len(state) == 0:
		e.said |= saidNothing
	case !ok || th == 0 || th > random || e.said&saidThreshold != 0 && e.th != uint16(th>>40):
		e.said |= saidFalse
	default:
		e.said |= saidThreshold
		e.th = uint16(th >> 40)
	}
}

func parseThreshold(state string) (t int64, ok bool) {
	th, ok := strings.CutPrefix(state, "ot=th:")
	if !ok || th == "" || len(th) > 14 || strings.Trim(th, "0123456789abcdef") != "" {
		return 0, false
	}
	t, err := strconv.ParseInt((th + "00000000000000")[:14], 16, 64)
	return t, err == nil
}

// counted is whether a trace that arrived stands for as many as it was kept for: itself where it is in error or slow, with no
// threshold, and else those of the percentage, by the threshold in each of its spans. Where doubtful, what makes it an error
// or slow may have come too late to count; but it was decided once, and all its spans say the same.
func (e *entry) counted(id Identity, percent float64, doubtful bool) bool {
	certain := id.Error || id.Slow || percent >= 100
	switch e.said & (saidNothing | saidThreshold | saidFalse) {
	case saidNothing:
		return certain
	case saidThreshold:
		off := int64(e.th)<<40 - threshold(percent)
		return (!certain || doubtful) && -borderline < off && off < borderline
	}
	return false
}
