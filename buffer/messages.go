package buffer

import "slices"

// few is up to how many messages of a trace a repeat is looked for one by one. Most traces have less, and an index would
// take a third of the memory of their facts.
const few = 32

// messages is what tells a repeat in a trace of many facts, or with log records, which are kept as a number only.
type messages struct {
	logs  []uint64         // messages of log records, while index is nil
	index map[uint64]Stamp // of more than few messages: all, with their publish times
}

// What the budget charges for a trace's messages, and for one in the index: a map of 16 B entries, half to seven eighths full.
const (
	messagesBytes = 48
	indexBytes    = 40
)

func (m *messages) bytes() int64 {
	if m == nil {
		return 0
	}
	return messagesBytes + int64(cap(m.logs))*8 + int64(len(m.index))*indexBytes
}

// publish is the publish time of the fact that message gave, if it is there.
func (t *trace) publish(message uint64) (at Stamp, known bool) {
	if t.messages != nil && t.messages.index != nil {
		at, known = t.messages.index[message]
		return at, known
	}
	i := slices.IndexFunc(t.facts, func(g Fact) bool { return g.Message == message })
	if i < 0 {
		return 0, false
	}
	return t.facts[i].Publish, true
}

// remember takes note of a message whose fact is among the trace's.
func (t *trace) remember(message uint64, publish Stamp) {
	m := t.messages
	switch {
	case m != nil && m.index != nil:
		m.index[message] = publish
	case len(t.facts) > few:
		t.makeIndex()
	}
}

// repeatsLogs reports whether the message of f was there already, and takes note of it.
func (t *trace) repeatsLogs(f Fact) bool {
	if t.messages == nil {
		t.messages = &messages{}
	}
	m := t.messages
	if m.index != nil {
		_, again := m.index[f.Message]
		m.index[f.Message] = f.Publish
		return again
	}
	if slices.Contains(m.logs, f.Message) {
		return true
	}
	m.logs = append(m.logs, f.Message)
	if len(m.logs) > few {
		t.makeIndex()
	}
	return false
}

func (t *trace) makeIndex() {
	index := make(map[uint64]Stamp, 2*few)
	for i := range t.facts {
		index[t.facts[i].Message] = t.facts[i].Publish
	}
	if t.messages != nil {
		for _, message := range t.messages.logs {
			index[message] = 0
		}
	}
	t.messages = &messages{index: index}
}
