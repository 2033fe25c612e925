package simnet

import "time"

// An event is something that happens at a moment of virtual time. Events of
// one moment happen in the order in which they were made.
type event struct {
	at  time.Duration
	seq uint64
	do  func()
	// host and kind name the event in the trace.
	host int32
	kind eventKind
}

func before(a, b *event) bool {
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

// A queue holds events by (time, sequence). Most come from timers that all run
// equally long, and so in order: those stand in line. The others lie in a heap
// whose nodes have four children, which is less deep than one with two.
type queue struct {
	heap  []event
	lines [2]line
	seq   uint64
}

// lineOf returns the line of a kind of event, -1 for none.
func lineOf(k eventKind) int {
	switch k {
	case evTick:
		return 0
	case evDurable:
		return 1
	}
	return -1
}

func (q *queue) Len() int {
	n := len(q.heap)
	for i := range q.lines {
		n += q.lines[i].len()
	}
	return n
}

// push adds an event.
func (q *queue) push(e event) {
	q.seq++
	e.seq = q.seq
	if i := lineOf(e.kind); i >= 0 && q.lines[i].push(&e) {
		return
	}
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !before(&e, &q.heap[up]) {
			break
		}
		q.heap[i] = q.heap[up]
		i = up
	}
	q.heap[i] = e
}

// next returns the first event, and the line that it stands in, -1 for the
// heap. The queue is not empty.
func (q *queue) next() (*event, int) {
	var first *event
	from := -1
	if len(q.heap) > 0 {
		first = &q.heap[0]
	}
	for i := range q.lines {
		if l := &q.lines[i]; l.len() > 0 {
			if e := &l.events[l.head]; first == nil || before(e, first) {
				first, from = e, i
			}
		}
	}
	return first, from
}

// pop takes the first event out.
func (q *queue) pop() event {
	first, from := q.next()
	top := *first
	if from >= 0 {
		q.lines[from].pop()
		return top
	}
	last := len(q.heap) - 1
	e := q.heap[last]
	q.heap[last] = event{}
	q.heap = q.heap[:last]
	i := 0
	for {
		least := -1
		for c := 4*i + 1; c <= 4*i+4 && c < last; c++ {
			if least < 0 || before(&q.heap[c], &q.heap[least]) {
				least = c
			}
		}
		if least < 0 || before(&e, &q.heap[least]) {
			break
		}
		q.heap[i] = q.heap[least]
		i = least
	}
	if last > 0 {
		q.heap[i] = e
	}
	return top
}

// A line holds events that came in order.
type line struct {
	events []event
	head   int
}

func (l *line) len() int { return len(l.events) - l.head }

// push adds an event behind all others; false where that is not its place.
func (l *line) push(e *event) bool {
	if n := len(l.events); n > l.head && l.events[n-1].at > e.at {
		return false
	}
	if l.head > 64 && l.head > len(l.events)/2 {
		n := copy(l.events, l.events[l.head:])
		clear(l.events[n:])
		l.events, l.head = l.events[:n], 0
	}
	l.events = append(l.events, *e)
	return true
}

func (l *line) pop() {
	l.events[l.head] = event{}
	l.head++
}
