#!/usr/bin/env bash
# A fleet of three hosts that share their inventories, on this one machine.
# See README.md. Leaves nothing behind: no process, no file, no open port.
set -euo pipefail
cd "$(dirname "$0")/../.."

hosts=(web-1 web-2 web-3)
work=$(mktemp -d)
declare -A pid=()

cleanup() {
	local code=$? host
	trap - EXIT
	for host in "${!pid[@]}"; do
		kill "${pid[$host]}" 2>/dev/null || :
	done
	for host in "${!pid[@]}"; do
		wait "${pid[$host]}" 2>/dev/null || :
	done
	if [ "$code" -ne 0 ]; then
		echo "fleet: FAILED (exit $code); what the nodes said:" >&2
		tail -n 20 "$work"/*.log >&2 || :
	fi
	rm -rf "$work"
	exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n== %s\n' "$*"; }
die() { echo "fleet: $*" >&2; exit 1; }

# on HOST COMMAND...: the program, on that host's repo.
on() {
	local host=$1
	shift
	"$work/rhizome" --repo "$work/$host" "$@"
}

# start HOST [FLAG...]: runs the host's node and waits until it listens. The
# addresses are loopback's; a real host would go without --listen and --http.
start() {
	local host=$1 n
	shift
	: >"$work/$host.out"
	"$work/rhizome" --repo "$work/$host" -o json run --listen /ip4/127.0.0.1/tcp/0 --http 127.0.0.1:0 "$@" \
		>"$work/$host.out" 2>>"$work/$host.log" &
	pid[$host]=$!
	for ((n = 0; n < 200; n++)); do
		[ ! -s "$work/$host.out" ] || return 0
		kill -0 "${pid[$host]}" 2>/dev/null || die "$host did not start"
		sleep 0.1
	done
	die "$host does not listen"
}

stop() {
	kill "${pid[$1]}"
	wait "${pid[$1]}"
	unset "pid[$1]"
}

digest() { on "$1" status | awk '$1 == "digest" { print $2 }'; }

# converge HOST...: waits until these hosts show one state.
converge() {
	local host first n
	for ((n = 0; n < 50; n++)); do
		for host; do
			on "$host" status --wait converged --timeout 60s >/dev/null
		done
		first=$(digest "$1")
		for host; do
			[ "$(digest "$host")" = "$first" ] || continue 2
		done
		echo "$* show one state: digest ${first:0:16}"
		return
	done
	die "$* do not converge"
}

# packages: name and version of everything that is installed here. Where there
# is no dpkg, the modules that this program is made of stand in.
packages() {
	if command -v dpkg-query >/dev/null; then
		dpkg-query -W -f '${binary:Package}\t${Version}\n'
	else
		go version -m "$work/rhizome" | awk '$1 == "dep" { print $2 "\t" $3 }'
	fi
}

# inventory NUMBER: what the host with that number has installed. All three are
# this machine, so each leaves out a different seventh of the packages, chosen
# by the name's letters: that they differ is made up, the rest is real.
inventory() {
	packages | LC_ALL=C sort -u | awk -F '\t' -v host="$1" '
		BEGIN { for (i = 1; i < 128; i++) code[sprintf("%c", i)] = i }
		{
			sum = 0
			for (i = 1; i <= length($1); i++) sum = (sum * 31 + code[substr($1, i, 1)]) % 1000003
			if (sum % 7 != host) print
		}'
}

# document HOST TABLE: the host as one JSON document, hardware facts and all.
document() {
	awk -F '\t' -v host="$1" -v arch="$(uname -m)" -v kernel="$(uname -r)" -v cores="$(getconf _NPROCESSORS_ONLN)" \
		-v model="$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)" \
		-v memory="$(awk '/^MemTotal:/ { print $2 }' /proc/meminfo 2>/dev/null || :)" '
		function quote(s) { gsub(/[\\"]/, "\\\\&", s); return "\"" s "\"" }
		BEGIN {
			printf "{\"id\": %s, \"arch\": %s, \"kernel\": %s", quote("host/" host), quote(arch), quote(kernel)
			printf ", \"cpu\": {\"model\": %s, \"cores\": %d}, \"memory_kib\": %d, \"packages\": {", quote(model), cores, memory
		}
		{ printf "%s%s: %s", (NR == 1 ? "" : ", "), quote($1), quote($2) }
		END { print "}}" }' "$2"
}

# want: the answer, worked out from the tables with no database in between. It
# is what ask prints: packages whose versions differ, and who lacks which.
want() {
	for host in "${hosts[@]}"; do
		sed "s/^/$host\t/" "$work/$host.tsv"
	done | awk -F '\t' '
		{ has[$2, $1] = $3; names[$2]; hosts[$1] }
		END {
			for (name in names) {
				differs = ""; lacks = ""; versions = 0; split("", seen)
				for (i = 1; i <= 3; i++) {
					host = "web-" i
					if ((name, host) in has) {
						v = has[name, host]
						differs = differs " " host "=" v
						if (!(v in seen)) { seen[v]; versions++ }
					} else lacks = lacks " " host
				}
				if (versions > 1) print "differs " name differs
				if (lacks != "") print "lacks " name lacks
			}
		}' | LC_ALL=C sort
}

go build -o "$work/rhizome" ./cmd/rhizome
go build -o "$work/ask" ./examples/fleet/ask

say "Three nodes: web-2 joins through web-1, web-3 through web-2"
start web-1
start web-2 --join "$(on web-1 invite)"
start web-3 --join "$(on web-2 invite)"

say "Each host publishes its own packages and hardware"
for i in 0 1 2; do
	host=${hosts[i]}
	inventory "$i" >"$work/$host.tsv"
	document "$host" "$work/$host.tsv" | on "$host" import - >/dev/null
	echo "$host: $(wc -l <"$work/$host.tsv") packages"
done
on web-1 put fleet '{"on-call": "ada", "region": "north"}' >/dev/null
converge "${hosts[@]}"
on web-3 ls host/

# Packages that all three have, to be upgraded and removed.
mapfile -t common < <(LC_ALL=C sort "$work"/web-?.tsv | uniq -c | awk '$1 == 3 { print $2 }' | head -n 3)
[ "${#common[@]}" -eq 3 ] || die "fewer than three packages in common"
upgraded=${common[0]} removed=${common[1]} patched=${common[2]}

# edit HOST PACKAGE [VERSION]: a change on one host, made there and in the table
# that the answer is checked against. Without a version the package goes.
edit() {
	local host=$1 name=$2 version=${3-} pointer
	pointer=${name//\~/\~0}
	pointer=${pointer//\//\~1}
	if [ -n "$version" ]; then
		on "$host" put "host/$host#/packages/$pointer" "\"$version\"" >/dev/null
	else
		on "$host" rm "host/$host#/packages/$pointer" >/dev/null
	fi
	awk -F '\t' -v OFS='\t' -v name="$name" -v version="$version" \
		'$1 != name { print; next } version != "" { print name, version }' "$work/$host.tsv" >"$work/edited"
	mv "$work/edited" "$work/$host.tsv"
}

say "web-3 goes away; web-1 and web-2 go on"
stop web-3
edit web-1 "$upgraded" 99.0-fleet1
edit web-2 "$removed"
on web-1 put 'fleet#/on-call' grace >/dev/null
converge web-1 web-2

say "web-3 edits too, offline"
edit web-3 "$upgraded" 98.0-fleet1
edit web-3 "$patched" 97.0-fleet1
on web-3 put 'fleet#/on-call' edsger >/dev/null
[ "$(digest web-3)" != "$(digest web-1)" ] || die "web-3 knows what it cannot know"

say "web-3 comes back and finds its peers by itself"
start web-3
converge "${hosts[@]}"

say "Two people went on call at once; nothing is lost"
on web-2 get --lossless 'fleet#/on-call'
lossless=$(on web-2 -o json get --lossless 'fleet#/on-call')
for name in grace edsger; do
	grep -q "\"$name\"" <<<"$lossless" || die "$name's value is lost"
done

say "Which versions differ between hosts, and who lacks what?"
want >"$work/want"
for host in "${hosts[@]}"; do
	on "$host" export host/ | "$work/ask" >"$work/$host.answer"
	diff "$work/want" "$work/$host.answer" >&2 || die "$host answers wrongly (< is right)"
done
grep '^differs ' "$work/web-3.answer"
for host in "${hosts[@]}"; do
	echo "$host lacks $(grep -c "^lacks .* $host\b" "$work/web-3.answer") packages that others have"
done
grep -qF "differs $upgraded web-1=99.0-fleet1" "$work/want" || die "the question was too easy"
grep -qxF "lacks $removed web-2" "$work/want" || die "the question was too easy"

say "All three hosts give the right answer, $(wc -l <"$work/want") lines of it"
