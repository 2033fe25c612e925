package gossip

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/oplog"
)

// Scripts under testdata/scripts are protocol traces to be read as prose; -rewrite
// renews them. Lanes are named after who opened them: a1 is the first of a.
//
//	hosts a b        start replicas            clone a c     copy one, lane and all
//	write a n=3      write and publish         lost          nobody hears of it
//	size=1000        of each entry             kill=b1:2     kill another entry
//	connect a b      open a session            cut a b       end it, lose publications
//	heal             end all cuts, connect     mute a b      what a sends b vanishes
//	unmute           end that                  restart a     as a new process
//	prove c a b at=a1:8   hand c the proof that a and b differ there
//	settle           until all agree           tick ms=500   let time pass
//	state            vectors                   peers a       how a sees its peers
//	rounds n=3       deliver 3 messages a link drain         deliver all there are
//	clock ms=-9000   set all clocks, here back
//	ask a            ask all how they stand    quiet         forget the trace
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		l := newLab(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			l.t, l.trace = t, nil
			for line := range strings.SplitSeq(strings.TrimSpace(d.Cmd+" "+argsOf(d)+"\n"+d.Input), "\n") {
				if f := strings.Fields(line); len(f) > 0 {
					l.run(f[0], f[1:])
				}
			}
			if len(l.trace) == 0 {
				return ""
			}
			return strings.Join(l.trace, "\n") + "\n"
		})
	})
}

func argsOf(d *datadriven.TestData) string {
	var b strings.Builder
	for _, a := range d.CmdArgs {
		b.WriteString(a.String() + " ")
	}
	return b.String()
}

func (l *lab) printf(format string, args ...any) {
	l.trace = append(l.trace, fmt.Sprintf(format, args...))
}

func (l *lab) run(cmd string, args []string) {
	l.t.Helper()
	hosts, opts := l.split2(cmd, args)
	number := func(name string, or int) int {
		if s, ok := opts[name]; ok {
			n, err := strconv.Atoi(s)
			l.must(err)
			return n
		}
		return or
	}
	switch cmd {
	case "hosts":
		for _, name := range args {
			l.add(name)
		}
	case "clone":
		l.clone(l.host(args[0]), args[1])
	case "write":
		var kills []clock.EntryID
		if k := opts["kill"]; k != "" {
			kills = append(kills, l.id(k))
		}
		_, lost := opts["lost"]
		hosts[0].write(number("n", 1), number("size", 10), !lost, kills...)
	case "connect":
		l.connect(hosts[0], hosts[1])
	case "cut":
		l.split(hosts[0], hosts[1])
	case "mute":
		l.mute[[2]*labHost{hosts[0], hosts[1]}] = true
	case "unmute":
		clear(l.mute)
	case "heal":
		l.heal()
	case "restart":
		hosts[0].restart()
	case "settle":
		millis, ok := l.settle(120_000)
		if !ok {
			l.printf("NO AGREEMENT")
		}
		l.printf("agreed after %d ms", millis)
	case "tick":
		l.tick(int64(number("ms", 50)))
	case "clock":
		l.now += int64(number("ms", 0))
	case "rounds":
		for range number("n", 1) {
			l.round()
		}
	case "drain":
		l.drain()
	case "quiet":
		l.trace = nil
	case "state":
		for _, h := range l.hosts {
			l.printf("%s %s pending=%d closed=%s", h.name, l.vector(h.log.Vector()), h.log.Pending.Len(), l.closed(h))
		}
	case "ask":
		hosts[0].m.Ask(l.now, uint64(number("nonce", 1)))
		hosts[0].effects()
		l.printf("fresh %v", hosts[0].m.Fresh(uint64(number("nonce", 1))))
		l.drain()
		l.printf("fresh %v", hosts[0].m.Fresh(uint64(number("nonce", 1))))
	case "peers":
		for _, p := range hosts[0].m.Peers() {
			l.printf("%s at %s converged=%v missing here=%d there=%d", p.Node, p.Addr, p.Converged, p.MissingHere, p.MissingThere)
		}
	case "prove":
		// hosts[0] is handed a proof of two others' branches at a seq.
		id := l.id(opts["at"])
		chain, err := hosts[2].log.ChainFrom(id)
		l.must(err)
		p, err := hosts[1].log.ProofAgainst(chain)
		l.must(err)
		hosts[0].close(CloseLane{Proof: p})
		hosts[0].effects()
	case "met-twin":
		hosts[0].m.Twin("@x")
		hosts[0].effects()
	default:
		l.t.Fatalf("unknown command %q", cmd)
	}
}

// split2 tells the hosts among arguments from the options.
func (l *lab) split2(cmd string, args []string) (hosts []*labHost, opts map[string]string) {
	opts = map[string]string{}
	for _, a := range args {
		if name, v, ok := strings.Cut(a, "="); ok || a == "lost" {
			opts[name] = v
		} else if cmd != "hosts" && cmd != "clone" {
			hosts = append(hosts, l.host(a))
		}
	}
	return hosts, opts
}

// restart ends a host's process, its sessions with it, and starts another.
func (h *labHost) restart() {
	for _, k := range slices.Clone(h.lab.links) {
		if k.ends[0] == h || k.ends[1] == h {
			h.lab.disconnect(k)
		}
	}
	h.start()
	h.signer = nil
}

func (l *lab) heal() {
	pairs := map[[2]*labHost]bool{}
	for p := range l.cut {
		pairs[p] = true
	}
	clear(l.cut)
	for i, a := range l.hosts {
		for _, b := range l.hosts[i+1:] {
			if pairs[[2]*labHost{a, b}] {
				l.connect(a, b)
			}
		}
	}
}

func (l *lab) lane(id clock.LaneID) string {
	if n, ok := l.lanes[id]; ok {
		return n
	}
	return "?"
}

func (l *lab) id(text string) (id clock.EntryID) {
	name, seq, _ := strings.Cut(text, ":")
	for lane, n := range l.lanes {
		if n == name {
			id.Lane = lane
		}
	}
	n, err := strconv.ParseUint(seq, 10, 64)
	l.must(err)
	id.Seq = n
	return id
}

func (l *lab) vector(v *clock.Vector) string {
	var heads []clock.LaneHead
	for _, lane := range v.Lanes() {
		heads = append(heads, clock.LaneHead{Lane: lane, Head: v.Head(lane)})
	}
	return l.heads(heads)
}

func (l *lab) heads(heads []clock.LaneHead) string {
	var out []string
	for _, h := range heads {
		out = append(out, fmt.Sprintf("%s:%d", l.lane(h.Lane), h.Head.Seq))
	}
	slices.Sort(out)
	return "{" + strings.Join(out, " ") + "}"
}

func (l *lab) closed(h *labHost) string {
	var out []string
	for _, lane := range h.log.ClosedLanes() {
		at, _ := h.log.ClosedAt(lane)
		out = append(out, fmt.Sprintf("%s:%d", l.lane(lane), at))
	}
	return "{" + strings.Join(out, " ") + "}"
}

// describe prints a message: what it says, not its bytes.
func (l *lab) describe(b []byte) string {
	k, r := kind(b[0]), &reader{b: b[1:]}
	say := func(format string, args ...any) string { return k.String() + " " + fmt.Sprintf(format, args...) }
	switch k {
	case kindHello:
		h := r.hello()
		return say("%v", h.Addrs)
	case kindRoot:
		if x := r.root(); x.Ask {
			return say("ask")
		}
		return say("answer")
	case kindHave:
		h := r.have()
		part := ""
		if !h.First || !h.Last {
			part = fmt.Sprintf(" first=%v last=%v", h.First, h.Last)
		}
		if len(h.Heads) > 20 {
			return say("%d lanes%s", len(h.Heads), part)
		}
		return say("%s%s", l.heads(h.Heads), part)
	case kindChunk:
		_ = r.uint()
		c, err := parseChunk(r.b)
		l.must(err)
		var out []string
		for _, run := range runsOf(c.Entries) {
			name := l.lane(c.Lanes[run.lane].Key.ID(labSpace))
			out = append(out, fmt.Sprintf("%s:%d-%d", name, run.first, run.first+run.count-1))
		}
		return say("%s", strings.Join(out, " "))
	case kindHashAsk, kindChainAsk:
		id := r.id()
		return say("%s:%d", l.lane(id.Lane), id.Seq)
	case kindHash:
		x := r.hash()
		return say("%s:%d held=%v", l.lane(x.ID.Lane), x.ID.Seq, x.Held)
	case kindChain:
		x := r.chain()
		return say("%s:%d of %d", l.lane(x.ID.Lane), x.ID.Seq, len(x.Chain.Headers))
	case kindProof:
		p, err := oplog.ParseProof(r.b)
		l.must(err)
		return say("%s:%d", l.lane(p.Lane()), p.Seq())
	case kindAddrs:
		return say("%v", r.texts(maxAddrs))
	case kindJoin:
		return say("of %d buckets", len(r.join().Buckets))
	case kindJoinHave:
		x := r.joinHave()
		marks := 0
		for i := range x.Buckets {
			marks += len(x.Buckets[i].Marks)
		}
		return say("%d of %d buckets: %d survivors answer=%v", len(x.Buckets), x.Count, marks, x.Answer)
	}
	return k.String()
}
