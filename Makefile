# Thin targets; .ci/run calls the same. `make check` is what a commit needs.

GO ?= go
GOLANGCI_VERSION := v2.15.0
TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rhizome-tools
GOLANGCI := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)

# The packages that must hold under the race detector, and those whose
# statements the tests must reach.
RACE := ./clock ./digest ./delta ./merge/... ./catalog ./plugin ./storage/... ./oplog ./gossip ./compaction ./node ./feed ./synthesize ./history
CORE := clock delta merge merge/schema catalog oplog gossip compaction node
COVER := $(CORE) plugin feed synthesize history
MIN_COVER := 90

FUZZTIME ?= 20s
BENCH ?= .

.PHONY: build build32 test race vet lint tools fmt fuzz sim sim-long same planted schedules laws bench cover tidy generate check tour fleet bench-check

build:
	$(GO) build ./...
	$(GO) build -o rhizome ./cmd/rhizome

# The core knows no word size: what compiles only on 64 bits hides an overflow.
build32:
	GOARCH=386 CGO_ENABLED=0 $(GO) build $(CORE:%=./%) ./digest ./storage

test:
	$(GO) test ./...

race:
	$(GO) test -race $(RACE)

vet:
	$(GO) vet ./...

tools: $(GOLANGCI)

# The linter is built by the Go command from the module proxy, which checks it
# against the checksum database, and kept by version.
$(GOLANGCI):
	mkdir -p $(TOOLS)/bin
	GOBIN=$(TOOLS)/bin GOFLAGS= $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(TOOLS)/bin/golangci-lint $@

lint: $(GOLANGCI)
	$(GOLANGCI) run ./...

fmt: $(GOLANGCI)
	$(GOLANGCI) fmt ./...

# One fuzz target at a time is what the go command can run.
fuzz:
	@for f in $$(grep -rlE '^func Fuzz' --include=*_test.go . | sort); do \
		for t in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' $$f); do \
			$(GO) test ./$$(dirname $$f) -run '^$$' -fuzz "^$$t\$$" -fuzztime $(FUZZTIME) || exit 1; \
		done; \
	done

# Simulated worlds, one for each seed from FIRST on. What fails says how it is
# run again.
SEEDS ?= 2000
FIRST ?= 1

sim:
	$(GO) test ./simnet -count=1 -timeout 0 -v -run '^Test(Swarm|CrashEverywhere)$$' -first $(FIRST) -seeds $(SEEDS)

# One seed, one trace: in two processes, and in one that the race detector slows
# down. SAME seeds are run by the first two, RACED by the third.
SAME ?= 200
RACED ?= 25

same:
	@hashes() { n=$$1; shift; SIMNET_HASHES=$$n $(GO) test "$$@" ./simnet -count=1 -v | grep '^[0-9]'; }; \
	one=$$(hashes $(SAME)) && two=$$(hashes $(SAME)) && raced=$$(hashes $(RACED) -race) || exit 1; \
	[ $$(echo "$$one" | wc -l) = $(SAME) ] || { echo "same: not $(SAME) seeds ran" >&2; exit 1; }; \
	[ "$$one" = "$$two" ] || { echo "same: two processes, two traces" >&2; exit 1; }; \
	[ "$$(echo "$$one" | head -n $(RACED))" = "$$raced" ] || { echo "same: another trace under -race" >&2; exit 1; }; \
	echo "$(SAME) seeds have one trace each in two processes, $(RACED) of them under -race too"

# Seeds that nobody has run, for a night.
sim-long:
	$(MAKE) sim FIRST=$$(date +%s) SEEDS=50000

# Bugs planted by a build tag, and in how many seeds the simulator finds them.
planted:
	$(GO) vet -tags plant ./internal/plant ./simnet ./node
	$(GO) test -tags plant ./simnet ./node -count=1 -v -run '^TestPlanted'

# Random schedules of dropped histories and joined states: of the kernel alone,
# and of whole replicas.
FOLDS ?= 100000
REPLICAS ?= 10000

schedules:
	$(GO) test ./merge -count=1 -timeout 0 -v -run '^TestSchedules$$' -schedules $(FOLDS)
	$(GO) test ./node -count=1 -timeout 0 -v -run '^TestCompacting$$' -seeds $(REPLICAS)

# Random histories that every verb and every resolver is held to.
HISTORIES ?= 10000

laws:
	$(GO) test ./merge -count=1 -timeout 0 -run '^Test(Delivery|Join|Meaning|Bounds|Counters|Reads|Resolvers|ResolversAfterCompaction)$$' -histories $(HISTORIES)

bench:
	$(GO) test ./... -run '^$$' -bench '$(BENCH)' -benchmem

# Coverage counts per package: what one package's tests reach in another says
# nothing about their own claims.
cover:
	@mkdir -p coverage
	@fail=0; for p in $(COVER); do \
		f=coverage/$$(echo $$p | tr / -); \
		$(GO) test -coverprofile $$f.out ./$$p >$$f.log 2>&1 || { cat $$f.log; exit 1; }; \
		pct=$$($(GO) tool cover -func $$f.out | awk '/^total:/ { sub("%", "", $$3); print $$3 }'); \
		printf '%-12s %5s %%\n' $$p "$$pct"; \
		awk -v have="$$pct" -v want=$(MIN_COVER) 'BEGIN { exit !(have + 0 < want) }' && \
			{ echo "$$p: coverage is below $(MIN_COVER) %" >&2; fail=1; } || :; \
	done; exit $$fail

tidy:
	$(GO) mod tidy

generate:
	$(GO) test ./api/server -run TestDoc -update

# The bench is a module of its own: `go test ./...` does not reach it.
bench-check: $(GOLANGCI)
	cd bench && $(GO) mod tidy -diff && $(GO) vet ./... && $(GOLANGCI) run ./... && $(GO) test -timeout 300s ./...

# The README's tour and the example, as a reader would run them.
tour:
	$(GO) test -count=1 -v ./internal/tour

fleet:
	examples/fleet/run.sh

check: vet lint
	$(GO) test -short ./...
