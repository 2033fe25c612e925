package server

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics is the server's own registry. What it says of the node is read from
// the node's status at each scrape, so that the two cannot differ.
type metrics struct {
	registry *prometheus.Registry
	handler  http.Handler
	requests *prometheus.CounterVec
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rhizome_http_requests_total", Help: "Requests that reached a route.",
		}, []string{"method", "route"}),
	}
	m.registry.MustRegister(m.requests, &statusCollector{s}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return m
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("rhizome_"+name, help, labels, nil)
}

var (
	descInfo      = desc("node_info", "Always 1; the labels say which node this is.", "node", "space", "version")
	descEntries   = desc("entries", "Raw entries held.")
	descFloor     = desc("floor_entries", "Entries that were applied and are not held: they lie below the floors.")
	descRows      = desc("state_rows", "Survivors of the state.")
	descRaw       = desc("raw_bytes", "Bytes of raw entries, about.")
	descLive      = desc("live_bytes", "Bytes of the state's rows, estimated from some of them.")
	descReclaim   = desc("reclaimable_bytes", "Bytes of raw entries that a compaction now would drop, about.")
	descGrowth    = desc("growth_bytes_per_day", "Bytes a day by which raw entries grew lately.")
	descChecks    = desc("checkpoints_total", "Compactions recorded since the repo was made.")
	descStates    = desc("states_total", "States served to peers and adopted from them.", "role")
	descLanes     = desc("lanes", "Lanes known.")
	descTips      = desc("tips", "Applied entries that none names yet.")
	descPending   = desc("pending_entries", "Entries that wait for what they depend on.")
	descDisk      = desc("disk_bytes", "Bytes that the repo takes on disk.")
	descConverged = desc("converged", "1 if all connected peers had equal vectors and digests.")
	descReadOnly  = desc("read_only", "1 if the node stopped writing because its disk failed.")
	descPeers     = desc("peers", "Peers, by whether they are connected.", "connected")
	descHere      = desc("sync_missing_here", "Entries that a peer has and this node lacks.", "peer")
	descThere     = desc("sync_missing_there", "Entries that this node has and a peer lacks.", "peer")
	descInSync    = desc("sync_converged", "1 if the peer had an equal vector and digest.", "peer")
	descSeen      = desc("sync_last_seen_timestamp_seconds", "When the peer was last seen.", "peer")
	descMessages  = desc("sync_messages_total", "Messages of the sync protocol.", "direction")
	descBytes     = desc("sync_bytes_total", "Bytes of the sync protocol's messages.", "direction")
	descPublished = desc("gossip_total", "Entries that came (in) and messages that went (out) by gossip.", "direction")
	descAlarms    = desc("alarms", "Alarms raised, by kind.", "kind")
	descForks     = desc("forks", "Lanes closed for a fork.")
	descUptime    = desc("uptime_seconds", "How long the node has run.")
)

// A statusCollector reads the node's status at each scrape.
type statusCollector struct{ s *Server }

// Describe names no metric, so that which ones come may depend on the peers.
func (c *statusCollector) Describe(chan<- *prometheus.Desc) {}

// Collect reads the status, without asking the peers.
func (c *statusCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(c.s.closing, 5*time.Second)
	defer cancel()
	status, err := c.s.node.Status(ctx, false)
	if err != nil {
		out <- prometheus.NewInvalidMetric(descInfo, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	store := &status.Storage
	gauge(descEntries, float64(status.Entries))
	gauge(descFloor, float64(store.Floor))
	gauge(descRaw, float64(store.RawBytes))
	gauge(descLive, float64(store.LiveBytes))
	gauge(descReclaim, float64(store.ReclaimableBytes))
	gauge(descGrowth, float64(store.GrowthPerDay))
	counter(descChecks, store.Checkpoints)
	counter(descStates, store.StatesServed, "served")
	counter(descStates, store.StatesAdopted, "adopted")
	count := func(d *prometheus.Desc, in, sent uint64) {
		counter(d, in, "in")
		counter(d, sent, "out")
	}
	count(descMessages, status.Sync.MessagesIn, status.Sync.MessagesOut)
	count(descBytes, status.Sync.BytesIn, status.Sync.BytesOut)
	count(descPublished, status.Sync.PublishedIn, status.Sync.PublishedOut)
	gauge(descInfo, 1, status.Node, status.Space, status.Version)
	gauge(descRows, float64(status.Rows))
	gauge(descLanes, float64(status.Lanes))
	gauge(descTips, float64(status.Tips))
	gauge(descPending, float64(status.Pending))
	gauge(descDisk, float64(status.DiskBytes))
	gauge(descConverged, one(status.Converged))
	gauge(descReadOnly, one(status.ReadOnly))
	gauge(descForks, float64(len(status.Forks)))
	gauge(descUptime, status.Uptime.Seconds())
	connected := 0
	for _, p := range status.Peers {
		if p.Connected {
			connected++
		}
		if p.ID == "" {
			continue // an address that was never reached
		}
		gauge(descHere, float64(p.MissingHere), p.ID)
		gauge(descThere, float64(p.MissingThere), p.ID)
		gauge(descInSync, one(p.Converged), p.ID)
		if !p.LastSeen.IsZero() {
			gauge(descSeen, float64(p.LastSeen.UnixMilli())/1000, p.ID)
		}
	}
	gauge(descPeers, float64(connected), "true")
	gauge(descPeers, float64(len(status.Peers)-connected), "false")
	alarms := map[string]int{}
	for _, a := range status.Alarms {
		alarms[a.Kind]++
	}
	for kind, n := range alarms {
		gauge(descAlarms, float64(n), kind)
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (s *Server) scrape(w http.ResponseWriter, r *http.Request) error {
	s.metrics.handler.ServeHTTP(w, r)
	return nil
}
