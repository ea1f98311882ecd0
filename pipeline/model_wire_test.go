package pipeline

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"tailweir/otlp"
)

// item is a span or a log record. Equal items are equal bytes, in whatever payload they lie.
type item struct {
	trace          byte // 0: none
	id             uint32
	log, root, bad bool
	pad            uint16 // bytes of its name
	level          byte   // of a record: its severity number
}

const luckyTrace = 5 // the trace that the probabilistic policy keeps; the others it does not

func (x item) traceID() otlp.TraceID {
	switch x.trace {
	case 0:
		return otlp.TraceID{}
	case luckyTrace:
		return otlp.TraceID(bytes.Repeat([]byte{0xff}, 16)) // above every threshold
	}
	return otlp.TraceID{0: 1, 1: byte(x.id >> 24), 2: byte(x.id >> 16), 8: x.trace} // randomness, the last 56 bits: 0
}

// modelRule is about the records of one severity and one service.
type modelRule struct {
	level, service byte
	keep           LogsKeep
}

func (s *scenario) logRules() (rules []LogRule) {
	for _, r := range s.rules {
		rules = append(rules, LogRule{
			MinSeverity: int32(r.level), MaxSeverity: int32(r.level), Attribute: "service.name", Values: []string{fmt.Sprintf("service %d", r.service)}, Keep: r.keep,
		})
	}
	return rules
}

// fate is what has to become of a record: the model's rules.
func (s *scenario) fate(x item) LogsKeep {
	for _, r := range s.rules {
		if x.level == r.level && byte(x.id%2) == r.service {
			return r.keep
		}
	}
	return s.keep
}

// waits says whether a record is to wait for its trace's decision.
func (s *scenario) waits(x item) bool {
	fate := s.fate(x)
	return x.trace != 0 && fate != LogsAtOnce && fate != LogsNever
}

func field(num protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), body)
}

func (x item) signal() otlp.Signal {
	if x.log {
		return otlp.Logs
	}
	return otlp.Traces
}

// home is the resource and scope header of an item, two different ones.
func (x item) home() (resource, scope []byte) {
	name := field(2, field(1, fmt.Appendf(nil, "service %d", x.id%2)))
	return field(1, append(field(1, []byte("service.name")), name...)), field(1, []byte("library"))
}

func (x item) body() (b []byte) {
	trace, name := x.traceID(), append(fmt.Appendf(nil, "item %d", x.id), bytes.Repeat([]byte{'.'}, int(x.pad))...)
	span := []byte{4: byte(x.id >> 24), 5: byte(x.id >> 16), 6: byte(x.id >> 8), 7: byte(x.id), 0: 1}
	if x.log {
		b = field(5, field(1, name))
		if x.trace != 0 {
			b = append(b, field(9, trace[:])...)
		}
		if x.level != 0 {
			b = append(b, 2<<3, x.level)
		}
		return b
	}
	if x.trace != 0 {
		b = field(1, trace[:])
	}
	b = append(b, field(2, span)...)
	if state := x.state(); state != "" {
		b = append(b, field(3, []byte(state))...)
	}
	if !x.root {
		b = append(b, field(4, []byte{1, 2, 3, 4, 5, 6, 7, 8})...)
	}
	b = append(b, field(5, name)...)
	if x.bad {
		b = append(b, field(15, []byte{3 << 3, 2})...) // status code ERROR
	}
	return b
}

// state is the tracestate of a span as it is published. The randomness in it is that of the trace id.
func (x item) state() string {
	return []string{"", "", "congo=t61,ot=" + x.randomness(), "congo=t61,ot=th:c;x:y"}[x.id%4]
}

func (x item) randomness() string {
	id := x.traceID().String()
	if x.trace != luckyTrace {
		return "rv:00000000000000"
	}
	return "rv:" + id[len(id)-14:]
}

// counted is the tracestate of a span that was kept with a threshold, 0 for certain. All randomness but that of luckyTrace
// is 0, so that th:c excludes its own span elsewhere.
func (x item) counted(threshold uint64) string {
	th := strings.TrimRight(fmt.Sprintf("ot=th:%014x", threshold), "0")
	switch {
	case x.id%4 == 3 && x.trace != luckyTrace:
		return "ot=x:y,congo=t61"
	case threshold == 0 || x.id%4 == 3 && threshold <= 0xc<<52:
		return x.state()
	case x.id%4 == 2:
		return th + ";" + x.randomness() + ",congo=t61"
	case x.id%4 == 3:
		return th + ";x:y,congo=t61"
	}
	return th
}

// takeState cuts the tracestates out of a span.
func takeState(body []byte) (plain []byte, states []string) {
	for len(body) > 0 {
		num, _, value := protowire.ConsumeField(body)
		if value < 0 {
			return append(plain, body...), states
		}
		if num == 3 {
			_, _, tag := protowire.ConsumeTag(body)
			state, _ := protowire.ConsumeBytes(body[tag:])
			states = append(states, string(state))
		} else {
			plain = append(plain, body[:value]...)
		}
		body = body[value:]
	}
	return plain, states
}

// key identifies an item by everything that is sent of it, but for its tracestate.
func (x item) key() uint64 {
	resource, scope := x.home()
	return keyOf(x.signal(), resource, scope, x.body())
}

func keyOf(s otlp.Signal, resource, scope, body []byte) uint64 {
	if s == otlp.Traces {
		body, _ = takeState(body)
	}
	return xxhash.Sum64(bytes.Join([][]byte{{byte(s)}, resource, scope, body}, []byte{0}))
}

// encode is the export request of items of one signal; neighbours of one home share it.
func encodeItems(items []item) (b []byte) {
	for i := 0; i < len(items); {
		resource, scope := items[i].home()
		spans := field(1, scope)
		for home := items[i].id % 2; i < len(items) && items[i].id%2 == home; i++ {
			spans = append(spans, field(2, items[i].body())...)
		}
		b = append(b, field(1, append(field(1, resource), field(2, spans)...))...)
	}
	return b
}

// decodeItems calls yield with each item of an export request.
func decodeItems(payload []byte, yield func(resource, scope, body []byte)) error {
	return fields(payload, func(_ protowire.Number, group []byte) error {
		var resource []byte
		return fields(group, func(num protowire.Number, b []byte) error {
			if num == 1 {
				resource = b
				return nil
			}
			var scope []byte
			return fields(b, func(num protowire.Number, b []byte) error {
				if num == 1 {
					scope = b
				} else {
					yield(resource, scope, b)
				}
				return nil
			})
		})
	})
}

func fields(b []byte, yield func(protowire.Number, []byte) error) error {
	for len(b) > 0 {
		num, _, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		body, m := protowire.ConsumeBytes(b[n:])
		if m < 0 {
			return protowire.ParseError(m)
		}
		if err := yield(num, body); err != nil {
			return err
		}
		b = b[n+m:]
	}
	return nil
}
