package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// A store is a correct one: replicas that apply writes in causal order, and read
// the siblings that nothing they applied has overwritten.
type store struct {
	r     *rand.Rand
	nodes []*replica
	ops   []Op
	lossy int // percent of the reads that are lossy
}

type replica struct {
	applied []*written // in order
	held    map[*written]bool
	live    map[string][]*written
	clock   int
	from    map[int]int // how much of each other replica's it has looked at
}

type written struct {
	key, value string
	kills      []*written
	clock      int // Lamport's, the replica breaking ties
	node       int
}

func newStore(r *rand.Rand, nodes, lossy int) *store {
	s := &store{r: r, lossy: lossy}
	for range nodes {
		s.nodes = append(s.nodes, &replica{held: make(map[*written]bool), live: make(map[string][]*written), from: make(map[int]int)})
	}
	return s
}

func (p *replica) apply(w *written) {
	p.applied, p.held[w] = append(p.applied, w), true
	p.live[w.key] = append(slices.DeleteFunc(p.live[w.key], func(v *written) bool { return slices.Contains(w.kills, v) }), w)
	p.clock = max(p.clock, w.clock)
}

func (s *store) write(node int, session, key string) {
	p := s.nodes[node]
	w := &written{
		key: key, value: fmt.Sprint("v", len(s.ops)),
		kills: slices.Clone(p.live[key]), clock: p.clock + 1, node: node,
	}
	p.apply(w)
	s.ops = append(s.ops, Op{Session: session, Kind: KindWrite, Key: key, Value: w.value})
}

func (s *store) read(node int, session, key string) {
	o := Op{Session: session, Kind: KindRead, Key: key}
	var shown *written
	for _, w := range s.nodes[node].live[key] {
		o.Values = append(o.Values, w.value)
		if shown == nil || w.clock > shown.clock || w.clock == shown.clock && w.node > shown.node {
			shown = w
		}
	}
	if o.Lossless = s.r.IntN(100) >= s.lossy; shown != nil {
		if o.Lossless {
			o.Shown = shown.value
		} else {
			o.Values = []string{shown.value}
		}
	}
	s.ops = append(s.ops, o)
}

// deliver takes writes from one replica to another, some of them in its order,
// which is causal.
func (s *store) deliver(from, to, most int) {
	p := s.nodes[to]
	src := s.nodes[from].applied
	for ; p.from[from] < len(src) && most > 0; p.from[from]++ {
		if w := src[p.from[from]]; !p.held[w] {
			p.apply(w)
			most--
		}
	}
}

// run lets clients of each replica do so much.
func (s *store) run(ops, clients, keys int) {
	for len(s.ops) < ops {
		node := s.r.IntN(len(s.nodes))
		session := fmt.Sprintf("n%d/c%d", node, s.r.IntN(clients))
		key := fmt.Sprint("k", s.r.IntN(keys))
		switch s.r.IntN(6) {
		case 0, 1:
			s.write(node, session, key)
		case 2, 3, 4:
			s.read(node, session, key)
		default:
			s.deliver(s.r.IntN(len(s.nodes)), node, s.r.IntN(8))
		}
	}
}
