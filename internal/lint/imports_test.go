package lint

import (
	"fmt"
	"slices"
	"strings"
)

// A layer is what one package may import: packages of the module, and modules
// of others. Everything in the standard library may be imported, but for what
// checkCore says of the core.
type layer struct {
	own    []string
	others []string
	// tests are what its tests may import on top.
	tests []string
}

// testKits are what any test may import.
var testKits = []string{
	"pgregory.net/rapid", "go.uber.org/goleak", "github.com/cockroachdb/datadriven", "github.com/rogpeppe/go-internal",
	"github.com/fxamacker/cbor/v2", // the general codec, the oracle of the strict one
}

// layers is the table of DESIGN: nothing points up, Pebble and libp2p have one
// importer each, and every dependency has the place that needs it.
var layers = map[string]layer{
	"backup":  {others: []string{"github.com/klauspost/compress"}},
	"digest":  {},
	"clock":   {own: []string{"digest"}},
	"delta":   {own: []string{"clock"}, others: []string{"github.com/ipfs/go-cid", "github.com/multiformats/go-multihash", "github.com/oasisprotocol/curve25519-voi"}},
	"merge":   {own: []string{"digest", "clock", "delta", "internal/plant"}},
	"storage": {tests: []string{"storage/storagetest"}},
	"oplog":   {own: []string{"digest", "clock", "delta", "storage", "internal/plant"}},
	"gossip":  {own: []string{"digest", "clock", "delta", "oplog"}, others: []string{"github.com/klauspost/compress"}, tests: []string{"storage"}},
	"catalog": {own: []string{"clock", "delta", "merge", "merge/schema"}},
	"node":    {own: []string{"digest", "clock", "delta", "merge", "merge/schema", "catalog", "storage", "oplog", "gossip", "compaction", "internal/plant"}},

	"merge/schema": {
		own:    []string{"digest", "clock", "delta", "merge"},
		others: []string{"github.com/santhosh-tekuri/jsonschema/v6", "github.com/bufbuild/protocompile", "google.golang.org/protobuf"},
	},

	"feed": {own: []string{"clock", "delta", "node"}, tests: []string{"gossip", "storage"}},

	"compaction": {own: []string{"digest", "clock", "delta", "merge", "oplog"}},

	"synthesize": {own: []string{"clock", "delta", "merge"}, others: []string{"github.com/pelletier/go-toml/v2", "go.yaml.in/yaml/v3"}},

	"storage/storagetest": {own: []string{"storage"}, others: []string{"pgregory.net/rapid"}},
	"storage/pebblestore": {own: []string{"storage"}, others: []string{"github.com/cockroachdb/pebble/v2"}, tests: []string{"storage/storagetest"}},
	"gossip/p2p": {own: []string{"gossip"}, others: []string{
		"github.com/libp2p/go-libp2p", "github.com/libp2p/go-libp2p-pubsub", "github.com/multiformats/go-multiaddr",
		"github.com/multiformats/go-multistream", "github.com/prometheus/client_golang",
	}},

	".": {
		own:    []string{"backup", "catalog", "clock", "delta", "merge", "merge/schema", "plugin", "oplog", "node", "gossip", "gossip/p2p", "storage", "storage/pebblestore"},
		others: []string{"golang.org/x/sys"},                            // when a file was born
		tests:  []string{"history", "github.com/cockroachdb/pebble/v2"}, // the benchmarks run raw Pebble beside the node
	},

	// What takes the place of another database's library, for whom it has the same
	// interface.
	"datastore": {
		own:    []string{".", "catalog", "delta", "storage", "storage/pebblestore"},
		others: []string{"github.com/ipfs/go-datastore"},
		tests:  []string{"clock"},
	},

	"api":        {own: []string{".", "catalog", "clock", "delta", "merge", "merge/schema", "node"}},
	"api/server": {own: []string{".", "catalog", "clock", "delta", "node", "feed", "api"}, others: []string{"github.com/prometheus/client_golang"}},
	"api/client": {own: []string{".", "backup", "clock", "delta", "node", "api", "api/server"}},

	"cmd/rhizome": {own: []string{"cmd/rhizome/internal/cli"}, tests: []string{"api"}},
	"cmd/rhizome/internal/cli": {
		own:    []string{".", "backup", "clock", "delta", "merge", "merge/schema", "node", "api", "api/server", "api/client", "cmd/rhizome/internal/config", "datastore", "simnet", "simnet/workload", "synthesize"},
		others: []string{"github.com/ipfs/go-datastore", "github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/term"},
	},
	"cmd/rhizome/internal/config": {own: []string{".", "api", "api/server"}, others: []string{"github.com/pelletier/go-toml/v2"}},

	// What a schema brings along may run: the only importer of both libraries.
	"plugin": {own: []string{"clock", "delta", "merge"}, others: []string{"cel.dev/cel-go", "github.com/tetratelabs/wazero"}},

	// Judges what clients saw of any store, and so knows none.
	"history": {},

	"simnet":          {own: []string{"clock", "delta", "storage", "oplog", "gossip", "compaction", "node"}, tests: []string{"simnet/workload", "internal/plant", "merge", "history"}},
	"simnet/workload": {own: []string{"catalog", "clock", "delta", "digest", "merge", "node", "simnet"}},

	"examples/fleet/ask": {},
	"examples/synthesize": {
		others: []string{"github.com/pelletier/go-toml/v2", "go.yaml.in/yaml/v3"},
		tests:  []string{"merge", "synthesize"},
	},
	// Whole nodes over a simulated network: only tests, which put together what
	// the root package does and so name the libraries of both adapters.
	"internal/bubble": {tests: []string{
		"clock", "node", "gossip", "gossip/p2p", "storage", "storage/pebblestore", "simnet", "simnet/workload",
		"github.com/cockroachdb/pebble/v2", "github.com/libp2p/go-libp2p", "github.com/quic-go/quic-go", "github.com/marcopolo/simnet",
	}},
	// Anomalies and what becomes of them: only tests, of replicas, whole nodes and
	// simulated worlds.
	"internal/anomaly": {tests: []string{".", "clock", "delta", "gossip", "merge", "node", "storage", "simnet", "simnet/workload"}},
	// Conditional writes to one node, judged by porcupine.
	"internal/linear": {tests: []string{".", "api/server", "github.com/anishathalye/porcupine"}},
	// The benchmark is a module of its own, with what it measures Rhizome beside.
	"bench": {own: []string{
		"bench/internal/crdtside", "bench/internal/pebbleside", "bench/internal/rhizomeside",
		"bench/internal/report", "bench/internal/scenario", "bench/internal/side", "bench/internal/worker",
	}},
	"bench/internal/crdtside": {own: []string{"bench/internal/pebbleside", "bench/internal/side"}, others: []string{
		"github.com/cockroachdb/pebble/v2", "github.com/hsanjuan/ipfs-lite", "github.com/ipfs", "github.com/libp2p",
	}},
	"bench/internal/meter":       {others: []string{"golang.org/x/sys"}},
	"bench/internal/pebbleside":  {own: []string{"bench/internal/side"}, others: []string{"github.com/cockroachdb/pebble/v2"}},
	"bench/internal/report":      {own: []string{"bench/internal/stat"}, others: []string{"golang.org/x/sys"}},
	"bench/internal/rhizomeside": {own: []string{".", "bench/internal/side"}},
	"bench/internal/scenario":    {own: []string{"bench/internal/report", "bench/internal/side", "bench/internal/stat", "bench/internal/worker"}, tests: []string{"bench/internal/pebbleside"}},
	"bench/internal/side":        {},
	"bench/internal/stat":        {},
	"bench/internal/worker":      {own: []string{"bench/internal/meter", "bench/internal/pebbleside", "bench/internal/side"}},

	"internal/lint":  {},
	"internal/plant": {},
	"internal/tour":  {},
}

// checkImports: a package imports only what its layer allows, and every package
// has a layer.
func checkImports(tr *tree) (found []string) {
	for _, f := range tr.files {
		l, ok := layers[f.dir]
		if !ok {
			found = append(found, fmt.Sprintf("%s: package %q has no layer in the import table", f.path, f.dir))
			continue
		}
		for _, imp := range f.syntax.Imports {
			name := strings.Trim(imp.Path.Value, `"`)
			if !l.allows(name, f.dir, f.test) {
				found = append(found, fmt.Sprintf("%s: imports %s, which its layer does not allow", f.path, name))
			}
		}
	}
	return found
}

func (l layer) allows(name, self string, test bool) bool {
	if own, ok := ownPackage(name); ok {
		return slices.Contains(l.own, own) || test && (own == self || slices.Contains(l.tests, own))
	}
	if first, _, _ := strings.Cut(name, "/"); !strings.Contains(first, ".") {
		return true // the standard library
	}
	under := func(mod string) bool { return name == mod || strings.HasPrefix(name, mod+"/") }
	return slices.ContainsFunc(l.others, under) ||
		test && (slices.ContainsFunc(testKits, under) || slices.ContainsFunc(l.tests, under))
}

// ownPackage returns the directory of a package of this module.
func ownPackage(name string) (string, bool) {
	if name == module {
		return ".", true
	}
	return strings.CutPrefix(name, module+"/")
}
