package simnet

import "time"

// An event is something that happens at a moment of virtual time. Events of
// one moment happen in the order in which they were made.
type event struct {
	at  time.Duration
	seq uint64
	do  func()
	// kind and host name the event in the trace.
	kind eventKind
	host int
}

// A queue is a binary heap of events by (time, sequence).
type queue struct {
	events []event
	seq    uint64
}

func (q *queue) Len() int { return len(q.events) }

func before(a, b *event) bool {
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *queue) push(e event) {
	q.seq++
	e.seq = q.seq
	q.events = append(q.events, e)
	i := len(q.events) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !before(&q.events[i], &q.events[up]) {
			return
		}
		q.events[i], q.events[up] = q.events[up], q.events[i]
		i = up
	}
}

func (q *queue) pop() event {
	top := q.events[0]
	last := len(q.events) - 1
	q.events[0] = q.events[last]
	q.events[last] = event{}
	q.events = q.events[:last]
	i := 0
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if before(&q.events[c], &q.events[least]) {
				least = c
			}
		}
		if least == i {
			return top
		}
		q.events[i], q.events[least] = q.events[least], q.events[i]
		i = least
	}
}
