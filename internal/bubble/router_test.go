package bubble

import (
	"container/heap"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/marcopolo/simnet"
)

// A router carries datagrams between the hosts' sockets: late by the latency
// of the two hosts' link, and not at all where chance, a cut or the absence of
// a host says so. Sockets take their names from the numbers of their hosts.
type router struct {
	latency func(from, to int) time.Duration

	// mu guards what follows; nothing blocks while it is held.
	mu      sync.Mutex
	luck    *rand.Rand
	loss    float64
	cut     func(from, to int) bool // nil cuts nothing
	sockets map[int]*simnet.SimConn
	flying  datagrams
	sent    uint64
	lost    uint64

	wake chan struct{} // cap 1: something flies that lands before all else
	quit chan struct{}
	done chan struct{}
}

func newRouter(seed uint64, latency func(from, to int) time.Duration) *router {
	r := &router{
		latency: latency, luck: rand.New(rand.NewPCG(seed, 1)), sockets: make(map[int]*simnet.SimConn),
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go r.run()
	return r
}

var _ simnet.Router = (*router)(nil)

// port is the one that all hosts listen on.
const port = 4001

func addrOf(host int) *net.UDPAddr {
	return &net.UDPAddr{IP: net.IPv4(1, 0, byte(host>>8), byte(host)).To4(), Port: port}
}

func hostAt(a net.Addr) int {
	u, ok := a.(*net.UDPAddr)
	if !ok || u.Port != port {
		return -1
	}
	ip := u.IP.To4()
	if ip == nil || ip[0] != 1 || ip[1] != 0 {
		return -1
	}
	return int(ip[2])<<8 | int(ip[3])
}

// AddNode implements simnet.Router.
func (r *router) AddNode(addr net.Addr, to simnet.PacketReceiver) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sockets[hostAt(addr)] = to.(*simnet.SimConn)
}

// listen makes a host's socket; whatever socket it had before is void.
func (r *router) listen(host int) *simnet.SimConn {
	c := simnet.NewBlockingSimConn(addrOf(host))
	c.SetUpPacketReceiver(r)
	r.AddNode(addrOf(host), c)
	return c
}

// remove takes a host off the network: nothing reaches it, and nothing that
// it still says reaches anybody.
func (r *router) remove(host int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sockets, host)
}

// partition cuts hosts off from each other, those already flying included; nil
// heals.
func (r *router) partition(cut func(from, to int) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
}

// lose sets the chance by which each datagram is lost.
func (r *router) lose(chance float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loss = chance
}

// RecvPacket implements simnet.Router: a datagram sets out.
func (r *router) RecvPacket(p *simnet.Packet) {
	from, to := hostAt(p.From), hostAt(p.To)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent++
	if r.sockets[from] == nil || r.blocked(from, to) || r.loss > 0 && r.luck.Float64() < r.loss {
		r.lost++
		return
	}
	d := datagram{p, from, to, time.Now().Add(r.latency(from, to)), r.sent}
	heap.Push(&r.flying, d)
	if r.flying[0].nth == d.nth {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

func (r *router) blocked(from, to int) bool {
	return r.sockets[to] == nil || r.cut != nil && r.cut(from, to)
}

// run lands datagrams when their time has come.
func (r *router) run() {
	defer close(r.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-r.wake:
		case <-timer.C:
		case <-r.quit:
			return
		}
		for {
			d, socket, wait := r.land()
			if wait > 0 {
				timer.Reset(wait)
				break
			}
			if socket != nil {
				socket.RecvPacket(d.Packet) // outside of mu: it waits while the host reads
			}
		}
	}
}

// land takes the next datagram that is due, or says how long that takes. The
// socket is nil where the datagram is lost after all.
func (r *router) land() (d datagram, to *simnet.SimConn, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.flying) == 0 {
		return d, nil, time.Hour
	}
	if wait := time.Until(r.flying[0].lands); wait > 0 {
		return d, nil, wait
	}
	d = heap.Pop(&r.flying).(datagram)
	if r.sockets[d.from] == nil || r.blocked(d.from, d.to) {
		r.lost++
		return d, nil, 0
	}
	return d, r.sockets[d.to], 0
}

// counts returns how many datagrams set out, and how many of those were lost.
func (r *router) counts() (sent, lost uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent, r.lost
}

// close ends the router; the sockets are their hosts'.
func (r *router) close() {
	close(r.quit)
	<-r.done
}

// A datagram is on its way.
type datagram struct {
	*simnet.Packet
	from, to int
	lands    time.Time
	nth      uint64
}

// datagrams is a heap by time of landing; those of one time keep their order.
type datagrams []datagram

func (q datagrams) Len() int      { return len(q) }
func (q datagrams) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q datagrams) Less(i, j int) bool {
	if c := q[i].lands.Compare(q[j].lands); c != 0 {
		return c < 0
	}
	return q[i].nth < q[j].nth
}
func (q *datagrams) Push(x any) { *q = append(*q, x.(datagram)) }
func (q *datagrams) Pop() any {
	old := *q
	d := old[len(old)-1]
	old[len(old)-1] = datagram{}
	*q = old[:len(old)-1]
	return d
}
