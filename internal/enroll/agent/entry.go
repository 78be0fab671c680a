package agent

import (
	std "container/heap"
	"time"

	"chancery/internal/enroll/vault"
)

// place is where an entry is.
type place int

const (
	nowhere  place = iota
	timed          // in the heap, until its time comes
	queued         // its time has come; it waits for its turn
	underway       // a worker has it
)

// entry is what the loop holds of a certificate: as little as it takes to know when.
type entry struct {
	name   string
	ca     string // the directory that issued it; "" = none did
	end    time.Time
	step   step
	wanted *vault.Sheet // of the configuration

	// tedious: its last run took long, and failed.
	tedious bool

	place  place
	index  int  // in its heap
	asks   int  // questions in a row that failed
	spins  int  // works in a row that changed nothing
	broken bool // its record cannot be read
}

// heap is a container/heap of entries that know their index.
type heap struct {
	list   []*entry
	before func(a, b *entry) bool
}

// The methods of container/heap.
func (h *heap) Len() int           { return len(h.list) }
func (h *heap) Less(i, j int) bool { return h.before(h.list[i], h.list[j]) }
func (h *heap) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].index, h.list[j].index = i, j
}

// Push is container/heap's.
func (h *heap) Push(x any) {
	e := x.(*entry)
	e.index = len(h.list)
	h.list = append(h.list, e)
}

// Pop is container/heap's.
func (h *heap) Pop() any {
	last := len(h.list) - 1
	e := h.list[last]
	h.list[last] = nil
	h.list = h.list[:last]
	return e
}

func (h *heap) push(e *entry)   { std.Push(h, e) }
func (h *heap) remove(e *entry) { std.Remove(h, e.index) }

func (h *heap) first() *entry {
	if len(h.list) == 0 {
		return nil
	}
	return h.list[0]
}
