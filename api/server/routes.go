package server

import (
	"net/http"

	"github.com/rhizome-p2p/rhizome/api"
)

// A route is one line of the router, with what the documentation says of it.
type route struct {
	method, pattern string
	handle          func(*Server, http.ResponseWriter, *http.Request) error
	// stream marks a route without a limit on its time.
	stream bool

	summary  string
	query    []param
	request  string // what the body is
	response string
	codes    []api.Code
}

type param struct{ name, meaning string }

var (
	paramPrefix  = param{"prefix", "only keys that begin with it"}
	paramCreator = param{"creator", "who made the change, as the author claims; empty means the author"}
	paramPath    = param{"path", "a JSON pointer inside the entity, in place of one in the key"}
	paramView    = param{"view", "by this view's survivors, resolvers and expansion"}
	paramRaw     = param{"raw", "1: each property by its verb alone, whatever schema there is"}
	paramAt      = param{"at", "as of a cut, at or above the horizon; see [cuts](#cuts)"}
)

var readCodes = []api.Code{api.CodeNotFound, api.CodeValidation}

var pastCodes = append(readCodes[:2:2], api.CodeHorizon)

var writeCodes = []api.Code{api.CodeNotFound, api.CodeValidation, api.CodeConflict}

var routes = []route{
	{
		method: "GET", pattern: "/v1/kv", handle: (*Server).list,
		summary: "Lists entity ids in byte order, a page at a time.",
		query: []param{
			paramPrefix,
			{"after", "only ids after this one"},
			{"limit", "how many at most; 1,000 if left out, 10,000 at most"},
		},
		response: `{"keys": [ID, …], "next": ID}; next is there where more follow: ask for those after it.`,
		codes:    []api.Code{api.CodeValidation},
	},
	{
		method: "GET", pattern: "/v1/kv/{key...}", handle: (*Server).get,
		summary: "Reads a key. The ETag changes whenever anything at or below the key does. If-None-Match is heeded.",
		query: []param{
			paramPath,
			{"lossless", "1: every survivor with its provenance"},
			paramAt, paramView, paramRaw,
			{"expand", "how far references are followed, 0 to 8"},
		},
		response: "The lossy value as JSON, by the schema that is for the entity. The header Rhizome-Conflicts counts the paths " +
			"where it hides a concurrent value, Rhizome-Errors the properties that have no value for an error. With lossless=1: " +
			"{key, value, etag, conflicts[], survivors[] {path, value, total, verb, dot, cid, " +
			"creator, author, lane, time, hlc, txn, shown}, incoming[], rules, errors[] {path, property, kind, text}, refs[]}; " +
			"incoming are the keys that refer to the entity, which " +
			"is not told of the past; refs are readings of what the survivors refer to, as far as expand says. In the lossy value, " +
			`a reference that is followed is {"$ref": ENTITY, "$value": …}.`,
		codes: append(pastCodes[:3:3], api.CodeResolver),
	},
	{
		method: "POST", pattern: "/v1/get", handle: (*Server).getMany,
		summary: "Reads many keys at once, as of one moment.",
		query:   []param{{"lossless", "1: every survivor with its provenance"}, paramAt, paramView, paramRaw, {"expand", "as above"}},
		request: `{"keys": [KEY, …]}, at most 10,000, and no more than make an answer of 64 MiB.`,
		response: "{values[] {key, found, value, etag, errors[], conflicts[]}}, in the order of the keys; with lossless=1 reading in " +
			"place of value.",
		codes: pastCodes,
	},
	{
		method: "GET", pattern: "/v1/read", handle: (*Server).readRange,
		summary: "Reads the entities with a prefix, or those of a view, in byte order, as of one moment.",
		query: []param{
			paramPrefix,
			{"after", "only ids after this one"},
			{"limit", "how many at most; 1,000 if left out, 10,000 at most"},
			{"lossless", "1: every survivor with its provenance"},
			paramAt, paramView, paramRaw,
			{"expand", "as above"},
		},
		response: "{values[], next} as above; next is there where more follow: ask for those after it. A page ends at 8 MiB, too.",
		codes:    pastCodes,
	},
	{
		method: "GET", pattern: "/v1/explain/{key...}", handle: (*Server).explain,
		summary: "Says why a key reads as it does.",
		query:   []param{paramPath, paramView, paramRaw},
		response: "{key, rules, value, properties[] {path, property, resolver, why, inputs, value, conflict, error, survivors[]}, " +
			"killed[] {…, by[] {dot, author, creator, verb, time}, killers}, more, horizon, since}: killed is what was read there and no " +
			"longer is, the newest 1,000, the newest first, as far back as the horizon. by lists the first 16 of the deltas that each " +
			"alone would have killed it, and killers is how many there are; of those whose entries are no longer held, dot and author " +
			"are told.",
		codes: readCodes,
	},
	{
		method: "PUT", pattern: "/v1/kv/{key...}", handle: (*Server).put,
		summary: "Writes a value. An object is merged leaf by leaf, in one transaction; {} is a leaf. " +
			"If-Match: ETAG or *, and If-None-Match: *, are heeded.",
		query: []param{paramPath, paramCreator}, request: "One JSON value.",
		response: "A receipt: {txn, cid, deltas, etags[]}; txn names the transaction for undo.",
		codes:    writeCodes,
	},
	{
		method: "DELETE", pattern: "/v1/kv/{key...}", handle: (*Server).rm,
		summary:  "Drops an entity, or what stands at and below a path. If-Match is heeded.",
		query:    []param{paramPath, paramCreator},
		response: "A receipt.", codes: writeCodes,
	},
	{
		method: "POST", pattern: "/v1/txn", handle: (*Server).txn,
		summary: "Commits operations, all or none of them, in one transaction.",
		query:   []param{paramCreator, {"etags", "1: the receipt has the keys' ETags, at the cost of a read each"}},
		request: `JSON Lines or one JSON array of operations: {"op": "put", "key", "value", "if_match", "skip_equal", "whole"}, ` +
			`{"op": "rm", "key", "if_match"}, {"op": "add" | "remove" | "vote", "key", "value", "if_match"}, ` +
			`{"op": "inc", "key", "n", "if_match"}, {"op": "negate", "dots": [DOT, …]}, {"op": "undo", "txn": DOT}. ` +
			`if_match is an ETag, "*" for anything, or "absent".`,
		response: "A receipt; etags are those of the operations' keys, in order, where asked for or where there is one; skipped names keys that an undo left alone.",
		codes:    writeCodes,
	},
	{
		method: "POST", pattern: "/v1/import", handle: (*Server).importAny, stream: true,
		summary: "Reads documents and writes what differs, in bounded memory. Each document is written whole or not at " +
			"all, in the order of the lines. The answer comes while the body is still read.",
		query: []param{paramCreator, paramFormat},
		request: `JSON Lines of {"id": ENTITY, …}. An entity that is no object: {"id", "$value": …}; bags, counters and ` +
			`votes by path: "$bags": {PATH: [VALUE, …]}, "$counters": {PATH: N}, "$votes": {PATH: {CREATOR: VALUE}}. ` +
			`A pointer feed: see docs/feeds.md.`,
		response: "JSON Lines of {docs, lines, bytes, written}, the last of them with done or with problem. At a bad line " +
			"nothing after it is written; what came before is in. An import can be run again. " + feedResponse,
		codes: []api.Code{api.CodeValidation},
	},
	{
		method: "GET", pattern: "/v1/export", handle: (*Server).exportAny, stream: true,
		summary:  "Prints all entities as of one moment, in byte order.",
		query:    []param{paramPrefix, paramAt, paramFormat},
		response: "JSON Lines that /v1/import reads back in the same format.",
		codes:    []api.Code{api.CodeValidation, api.CodeHorizon},
	},
	{
		method: "GET", pattern: "/v1/changes", handle: (*Server).changes, stream: true,
		summary: "Streams transactions as this node applies them, its own and others'.",
		query: []param{
			{"prefix", "only deltas whose key begins with it"},
			{"since", "a cursor: what came after it; 0: from the beginning; left out: from now on. The header Last-Event-ID " +
				"goes before it"},
		},
		response: "Server-sent events. \"ready\" comes first. \"change\" has the cursor as its id, and {cursor, txn, cid, " +
			"author, creator, time, hlc, deltas[] {key, verb, value, total, kills, dot}}. \"error\" has problem details and " +
			"comes last: `gone` where what comes next was compacted away, or came as a peer's state. Comments are heartbeats.",
		codes: []api.Code{api.CodeValidation, api.CodeGone},
	},
	{
		method: "GET", pattern: "/v1/log", handle: (*Server).logPage,
		summary: "Prints the log in the order in which this node applied it, or one lane in its own order.",
		query: []param{
			{"lane", "one lane"},
			{"since", "a cursor: what came after it; left out: from where raw history is whole, of a lane all that is held"},
			{"limit", "how many at most; 1,000 if left out, 10,000 at most"},
		},
		response: "{entries[] {cursor, entry, cid, prev, body, author, time, hlc, deps[], signed, bytes, closed, txns[]}, " +
			"next, start}; next is there where more may follow: ask for those since it. start is there where entries are no " +
			"longer held: the cursor behind which raw history is whole.",
		codes: append(readCodes[:2:2], api.CodeGone),
	},
	{
		method: "GET", pattern: "/v1/log/follow", handle: (*Server).followLog, stream: true,
		summary:  "Streams the log: what there is since the cursor, then each entry as it is applied.",
		query:    []param{{"lane", "one lane"}, {"since", "a cursor; the header Last-Event-ID goes before it"}},
		response: "Server-sent events, \"entry\" with the cursor as its id, and \"error\" as in /v1/changes.",
		codes:    []api.Code{api.CodeValidation, api.CodeGone},
	},
	{
		method: "GET", pattern: "/v1/log/{ref}", handle: (*Server).show,
		summary: "Shows one entry: by CID, by LANE:SEQ, or by the dot of one of its deltas.",
		response: "The entry as in /v1/log, with past[]: its whole causal past as a vector; past_cut says that it reaches " +
			"below raw history, and so is at least this.",
		codes: append(readCodes[:2:2], api.CodeGone),
	},
	{
		method: "GET", pattern: "/v1/schemas", handle: (*Server).schemas,
		summary: "Lists the schemas of the space.",
		response: "{schemas[] {name, version, active, description, entities[], properties}, require, problems[] {key, text, in_force}}; problems " +
			"are versions that cannot be used, or are in force but for a property: of each schema the highest that can be is active.",
	},
	{
		method: "GET", pattern: "/v1/schemas/{name}", handle: (*Server).schema,
		summary: "Prints a schema.", query: []param{{"version", "which one; left out: the active one"}},
		response: "The schema's document. See docs/schemas.md.", codes: readCodes,
	},
	{
		method: "POST", pattern: "/v1/schemas", handle: (*Server).addSchema,
		summary: "Adds a version of a schema. Reads go by it at once, here and on every node that it comes to.",
		query:   []param{{"dry_run", "1: say what is wrong with it, and write nothing"}},
		request: "A schema's document.", response: "{name, version, dry_run} and a receipt.", codes: writeCodes,
	},
	{
		method: "DELETE", pattern: "/v1/schemas/{name}", handle: (*Server).removeSchema,
		summary: "Drops all versions of a schema. What was written by it stays.", response: "A receipt.", codes: writeCodes,
	},
	{
		method: "GET", pattern: "/v1/space", handle: (*Server).space,
		summary: "Tells the settings that hold on every node of the space.", response: `{"require_schema": BOOL}`,
	},
	{
		method: "PUT", pattern: "/v1/space", handle: (*Server).setSpace,
		summary: "Sets them.", request: `{"require_schema": BOOL}: with true, writes to entities without a schema are refused.`,
		response: "A receipt.", codes: writeCodes,
	},
	{
		method: "GET", pattern: "/v1/resolvers", handle: (*Server).resolvers,
		summary: "Lists the resolvers of the space.",
		response: "{resolvers[] {name, version, versions[] {version, state, kind, description, expression, module, size, text}}, builtin[], " +
			"problems[]}; version is the active one. A state is active, replaced, loading (its module has not come whole), broken or retired.",
	},
	{
		method: "PUT", pattern: "/v1/resolvers/{name}", handle: (*Server).putResolver,
		summary:  "Adds a version of a resolver. It takes the place of the one before it at once, here and on every node that it comes to.",
		query:    []param{{"description", "of a module"}},
		request:  `{"expression": CEL, "description": …}, or a WebAssembly module of at most 8 MiB as application/wasm. See docs/resolvers.md.`,
		response: "{name, version} and a receipt.", codes: writeCodes,
	},
	{
		method: "DELETE", pattern: "/v1/resolvers/{name}", handle: (*Server).retireResolver,
		summary:  "Retires a resolver: properties that it is for have an error in place of a value.",
		response: "{name, version} and a receipt.", codes: writeCodes,
	},
	{
		method: "GET", pattern: "/v1/views", handle: (*Server).views,
		summary: "Lists the views of the space.", response: "{views[] {name, definition}, problems[]}",
	},
	{
		method: "GET", pattern: "/v1/views/{name}", handle: (*Server).showView,
		summary: "Prints what a view shows, in the byte order of ids, a page at a time.",
		query: []param{
			{"after", "only ids after this one"}, {"limit", "how many at most; 1,000 if left out, 10,000 at most"}, paramAt,
		},
		response: "{items[] {id, value, errors[]}, next}", codes: pastCodes,
	},
	{
		method: "PUT", pattern: "/v1/views/{name}", handle: (*Server).putView,
		summary: "Adds a view, or replaces it.", request: "A view's definition. See docs/views.md.",
		response: "A receipt.", codes: writeCodes,
	},
	{
		method: "DELETE", pattern: "/v1/views/{name}", handle: (*Server).removeView,
		summary: "Drops a view.", response: "A receipt.", codes: writeCodes,
	},
	{
		method: "GET", pattern: "/v1/views/{name}/watch", handle: (*Server).watchView, stream: true,
		summary: "Streams what a view shows, and then what changes in it.",
		response: "Server-sent events: \"item\" {id, value, errors[], gone} for each entity of the view, \"ready\", and from then on an " +
			"\"item\" for each that changes; of one that changes faster than it is taken, the newest. \"error\" comes last.",
		codes: readCodes,
	},
	{
		method: "GET", pattern: "/v1/status", handle: (*Server).status,
		summary: "Tells how the node stands.",
		query:   []param{{"fresh", "1: ask every connected peer first"}},
		response: "{node, author, space, space_name, version, repo, addrs[], converged, digest, frontier, lanes, entries, " +
			"rows, tips, disk_bytes, pending, read_only, uptime_seconds, peers[] {id, addr, connected, converged, " +
			"missing_here, missing_there, last_seen}, alarms[] {kind, text, hint, time}, forks[] {lane, author, seq, kept}, " +
			"storage {floor_entries, history, past_from, raw_bytes, live_bytes, reclaimable_bytes, growth_bytes_per_day, " +
			"retention {mode, age, bytes}, checkpoints, states_served, states_adopted}}. entries are the raw ones that are " +
			"held, rows the survivors of the state. The bytes in storage are estimates; growth is that of raw entries.",
	},
	{
		method: "GET", pattern: "/v1/peers", handle: (*Server).peers,
		summary: "Lists the peers that the node knows.", response: "{peers[]} as in /v1/status.",
	},
	{
		method: "POST", pattern: "/v1/peers", handle: (*Server).addPeer,
		summary: "Adds a peer, and dials it.", request: `{"addr": MULTIADDR}`, response: "Nothing (204).",
		codes: []api.Code{api.CodeValidation},
	},
	{
		method: "DELETE", pattern: "/v1/peers/{peer}", handle: (*Server).removePeer,
		summary: "Forgets a peer, by id or by address, escaped.", response: "Nothing (204).",
		codes: readCodes,
	},
	{
		method: "GET", pattern: "/v1/invite", handle: (*Server).invite,
		summary:  "Makes the string that another host joins with. It holds the network's key: whoever has it is a member.",
		response: `{"invite": "rhizome1…"}`,
	},
	{
		method: "POST", pattern: "/v1/compact", handle: (*Server).compact, stream: true,
		summary: "Drops raw entries and gives their space back. The newest state stays what it was; nobody is asked, and " +
			"reads, writes and sync go on meanwhile. Own entries that no peer is known to hold stay, where peers are known.",
		query: []param{
			{"to", "a cut: the longest prefix of this node's order of application within it goes; left out: all. See [cuts](#cuts)"},
			{"force", "1: drop also own entries that no peer is known to hold"},
			{"dry_run", "1: change nothing, and say what would go"},
		},
		response: "JSON Lines of {done, total}, the last of them with report {dry_run, checkpoint, cursor, floor[], " +
			"dropped_entries, freed_bytes, unseen_by[], held, work_ms, reclaim_ms} or with problem. floor is LANE:SEQ for each " +
			"lane; freed_bytes is by how much the repo became smaller on disk, with dry_run an estimate; unseen_by are the " +
			"peers that are not known to hold all of it, and get it as state; held says that own entries stayed.",
		codes: []api.Code{api.CodeValidation, api.CodeConflict, api.CodeHorizon},
	},
	{
		method: "GET", pattern: "/v1/checkpoints", handle: (*Server).checkpoints,
		summary: "Lists the records of compactions, the oldest first; the last 64 are kept.",
		response: "{checkpoints[] {number, time, done, entries, bytes, floor_root, lanes, frontier, digest, rows}}: entries " +
			"and bytes are what went, floor_root the root of the vector to which the floors of as many lanes rose, the rest " +
			"how the node stood.",
	},
	{
		method: "POST", pattern: "/v1/verify", handle: (*Server).verify, stream: true,
		summary:  "Rereads and checks the whole repo.",
		response: "JSON Lines of {done, total}, the last of them with report {entries, rows, lanes, problems[]} or with problem.",
	},
	{
		method: "GET", pattern: "/v1/backup", handle: (*Server).backup, stream: true,
		summary: "Backs up the whole repo as of one moment, with history, while the node goes on. The answer holds the " +
			"network's key and the node's identity: it is a secret.",
		query:    []param{{"identity", "0: leave the identity out; what is restored then gets one of its own"}},
		response: "A backup file (application/octet-stream) as docs/format.md has it. One that was cut short has no end, and is refused.",
	},
	{
		method: "GET", pattern: "/v1/diff", handle: (*Server).diffPeer,
		summary: "Compares the node's state with that of a connected peer, and changes neither.",
		query:   []param{{"peer", "the peer's id"}},
		response: "{peer, equal, same_log, here, there, rows[] {key, dot, value, side, new}, more}: here and there count the " +
			"survivors that one side alone has. A row is new where the other side has not applied its entry. At most 10,000 are listed.",
		codes: []api.Code{api.CodeValidation, api.CodeNotFound, api.CodeConflict},
	},
	{
		method: "POST", pattern: "/v1/diff", handle: (*Server).diffBackup, stream: true,
		summary:  "Compares the node's state with that of a backup.",
		request:  "a backup file",
		response: "As above; peer is \"backup\".",
		codes:    []api.Code{api.CodeValidation},
	},
	{
		method: "GET", pattern: "/v1/id", handle: (*Server).identity,
		summary: "Tells who the node is.", response: "{id, addrs[], pid}",
	},
	{
		method: "GET", pattern: "/livez", handle: (*Server).live,
		summary: "Answers while the process does. Needs no token.", response: "ok",
	},
	{
		method: "GET", pattern: "/readyz", handle: (*Server).ready,
		summary: "Answers 200 while the node serves, 503 once it stopped or is closing. Needs no token.", response: "ok",
		codes: []api.Code{api.CodeUnreachable},
	},
	{
		method: "GET", pattern: "/metrics", handle: (*Server).scrape,
		summary: "Metrics for Prometheus: entries, rows, floor, raw, live and reclaimable bytes, pending, disk, peers, sync per peer, alarms, requests.", response: "Prometheus text.",
	},
}
