package api

import (
	"time"

	"github.com/rhizome-p2p/rhizome"
)

// A Status tells how a node stands.
type Status struct {
	Node      string   `json:"node"`
	Author    string   `json:"author"`
	Space     string   `json:"space"`
	SpaceName string   `json:"space_name"`
	Version   string   `json:"version"`
	Repo      string   `json:"repo"`
	Addrs     []string `json:"addrs"`
	// Converged means equal vectors and digests with all connected peers;
	// false while peers are known and none is connected.
	Converged     bool         `json:"converged"`
	Digest        string       `json:"digest"`
	Frontier      string       `json:"frontier"`
	Lanes         int          `json:"lanes"`
	Entries       uint64       `json:"entries"` // raw ones that are held
	Rows          uint64       `json:"rows"`    // survivors
	Tips          int          `json:"tips"`
	DiskBytes     uint64       `json:"disk_bytes"`
	Pending       int          `json:"pending"`
	ReadOnly      bool         `json:"read_only"`
	UptimeSeconds float64      `json:"uptime_seconds"`
	Peers         []PeerStatus `json:"peers"`
	Storage       Storage      `json:"storage"`
	Sync          Sync         `json:"sync"`
	Alarms        []Alarm      `json:"alarms"`
	Forks         []Fork       `json:"forks"`
}

// A Sync counts what went between a node and its peers since it started:
// messages of the sync protocol and their bytes, entries that came and messages
// that went by gossip.
type Sync struct {
	MessagesIn   uint64 `json:"messages_in"`
	MessagesOut  uint64 `json:"messages_out"`
	BytesIn      uint64 `json:"bytes_in"`
	BytesOut     uint64 `json:"bytes_out"`
	PublishedIn  uint64 `json:"published_in"`
	PublishedOut uint64 `json:"published_out"`
}

// A PeerStatus tells how one peer stands to this node.
type PeerStatus struct {
	ID           string `json:"id"`
	Addr         string `json:"addr"`
	Connected    bool   `json:"connected"`
	Converged    bool   `json:"converged"`
	MissingHere  uint64 `json:"missing_here"`
	MissingThere uint64 `json:"missing_there"`
	// LastSeen is null for a peer that was never seen.
	LastSeen *time.Time `json:"last_seen"`
}

// An Alarm is something that a person should look at.
type Alarm struct {
	Kind string    `json:"kind"`
	Text string    `json:"text"`
	Hint string    `json:"hint"`
	Time time.Time `json:"time"`
}

// A Fork is a lane that was closed because its author signed two entries
// under one name.
type Fork struct {
	Lane   string `json:"lane"`
	Author string `json:"author"`
	Seq    uint64 `json:"seq"`
	Kept   int    `json:"kept"`
}

// StatusOf returns a status as JSON has it.
func StatusOf(s *rhizome.Status) Status {
	out := Status{
		Node: s.Node, Author: s.Author.String(), Space: s.Space, SpaceName: s.SpaceName, Version: s.Version,
		Repo: s.Repo, Addrs: append([]string{}, s.Addrs...), Converged: s.Converged, Digest: s.Digest,
		Frontier: s.Frontier, Lanes: s.Lanes, Entries: s.Entries, Rows: s.Rows, Tips: s.Tips,
		DiskBytes: s.DiskBytes, Pending: s.Pending, ReadOnly: s.ReadOnly, UptimeSeconds: s.Uptime.Seconds(),
		Peers: PeersOf(s.Peers), Storage: StorageOf(&s.Storage), Sync: Sync(s.Sync), Alarms: make([]Alarm, 0, len(s.Alarms)), Forks: make([]Fork, 0, len(s.Forks)),
	}
	for _, a := range s.Alarms {
		out.Alarms = append(out.Alarms, Alarm{a.Kind, a.Text, a.Hint, a.Time.UTC()})
	}
	for _, f := range s.Forks {
		out.Forks = append(out.Forks, Fork{f.Lane.String(), f.Author.String(), f.Seq, f.Kept})
	}
	return out
}

// PeersOf returns peers as JSON has them.
func PeersOf(peers []rhizome.PeerStatus) []PeerStatus {
	out := make([]PeerStatus, 0, len(peers))
	for _, p := range peers {
		o := PeerStatus{
			ID: p.ID, Addr: p.Addr, Connected: p.Connected, Converged: p.Converged,
			MissingHere: p.MissingHere, MissingThere: p.MissingThere,
		}
		if !p.LastSeen.IsZero() {
			t := p.LastSeen.UTC()
			o.LastSeen = &t
		}
		out = append(out, o)
	}
	return out
}
