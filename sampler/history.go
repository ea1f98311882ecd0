package sampler

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"tailweir/otlp"
)

// History remembers the decisions of the most recently used traces, so that late spans and redelivered messages follow
// them. Safe for concurrent use.
type History struct {
	mu  sync.Mutex
	lru *simplelru.LRU[otlp.TraceID, Decision]
}

// NewHistory returns a history of at most size traces; less than one is one. An entry takes about 150 B.
func NewHistory(size int) *History {
	lru, err := simplelru.NewLRU[otlp.TraceID, Decision](max(size, 1), nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &History{lru: lru}
}

// Get is the decision on id, if it is remembered, and marks it as used.
func (h *History) Get(id otlp.TraceID) (Decision, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lru.Get(id)
}

// Put remembers d for id unless a decision on id is remembered already: the first one stands. It reports whether d was
// the first. The least recently used trace is forgotten when the history is full.
func (h *History) Put(id otlp.TraceID, d Decision) (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, decided := h.lru.Get(id); decided {
		return false
	}
	h.lru.Add(id, d)
	return true
}

// Len is the number of traces remembered.
func (h *History) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lru.Len()
}
